"use strict";
// Tables that sort by a click (or Enter) on a column's title and filter as one types.
for (const grid of document.querySelectorAll(".grid")) {
  const body = grid.querySelector("tbody");
  const rows = [...body.rows];
  const titles = [...grid.querySelectorAll("thead tr:last-child th")];

  const key = (row, column) => row.cells[column].dataset.key;
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return a.localeCompare(b, undefined, { numeric: true });
    return x - y;
  };

  titles.forEach((title, column) => {
    title.querySelector("button").addEventListener("click", () => {
      const now = title.getAttribute("aria-sort");
      const other = { ascending: "descending", descending: "ascending" };
      const order = other[now] ?? title.dataset.first;
      const sign = order === "ascending" ? 1 : -1;
      titles.forEach((each) => each.setAttribute("aria-sort", each === title ? order : "none"));
      rows.sort((a, b) => {
        const x = key(a, column), y = key(b, column);
        if (x === "" || y === "") return (x === "") - (y === ""); // no value: last
        return sign * compare(x, y);
      });
      body.append(...rows);
    });
  });

  const filter = grid.querySelector(".filter");
  const input = filter.querySelector("input");
  const told = filter.querySelector("output");
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    told.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  };
  input.addEventListener("input", apply);
  filter.hidden = rows.length < 5; // a few rows are seen at a glance
  apply();
}

// A click (or Enter) on a picture opens it large, with those beside it.
const dialog = document.querySelector("dialog");
const large = dialog.querySelector(".large");
for (const open of document.querySelectorAll(".open")) {
  open.addEventListener("click", () => {
    const beside = open.closest(".strip")?.querySelectorAll("figure") ?? [open];
    large.replaceChildren(...[...beside].map((each) => {
      const figure = document.createElement("figure");
      const what = each.querySelector("figcaption");
      figure.append(each.querySelector("img").cloneNode(), ...(what ? [what.cloneNode(true)] : []));
      return figure;
    }));
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside the pictures
});
