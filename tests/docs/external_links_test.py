"""External links have the form of links that work; nothing here has a network.

`python -m sphinx -b linkcheck -c docs . build/links` asks the hosts themselves.
"""

import re
import tomllib

from helpers import commands
from helpers.jobs import ROOT
import pytest

FILES = [
    *commands.PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "CITATION.cff",
    *sorted(ROOT.glob("docs/results/*/*.md")),
    *sorted(ROOT.glob("jood/**/*.py")),
    *sorted(ROOT.glob("jood/**/*.toml")),
    *sorted(ROOT.glob("launch/*.py")),
]
# To a space, a quote or a bracket that the link itself did not open.
URL = re.compile(r"https?://(?:[^\s\"'`<>|\]()]|\([^\s()]*\))+")
ENDS = re.compile(r"[.,;:!?]+$")
HOSTS = {
    "cocodataset.org",
    "download.pytorch.org",
    "github.com",
    "imagenetv2.org",
    "keepachangelog.com",
    "people.eecs.berkeley.edu",
    "scikit-learn.org",
    "semver.org",
    "www.cs.toronto.edu",
    "www.dropbox.com",
    "www.image-net.org",
    "www.robots.ox.ac.uk",
    "zenodo.org",
}
# As their owners give them: they answer on http alone, or did when data was taken.
HTTP = {
    "data.csail.mit.edu",
    "images.cocodataset.org",
    "pages.cs.wisc.edu",
    "sceneparsing.csail.mit.edu",
    "ufldl.stanford.edu",
}
REPOSITORY = re.compile(
    r"https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+(?<!\.git)"
    r"(/(tree|blob)/[\w.-]+(/[\w./-]+)?(#L\d+(-L\d+)?)?|/(issues|pull)/\d+)?"
)
ARXIV = re.compile(r"arxiv(?::\s*|\.org/(?:abs|pdf)/)([^\s,;)\"']+)", re.IGNORECASE)
IDENTIFIER = re.compile(r"\d\d(0[1-9]|1[0-2])\.\d{4,5}(v\d+)?")
DOI = re.compile(r"10\.\d{4,9}/[^\s\"]*[A-Za-z0-9)]")


def _links(text):
    """The links of a text, without what ends the sentence around one."""
    for link in URL.findall(text):
        quoted = f"]({link})" in text or f'"{link}"' in text
        yield link if quoted else ENDS.sub("", link)


def _wrong(link):
    """What is wrong with a link; None where nothing is."""
    scheme, _, rest = link.partition("://")
    host = rest.partition("/")[0].partition(":")[0]
    if host in ("127.0.0.1", "git-lfs") or "{" in link:  # a command's, a file's, code
        return None
    if host not in (HTTP if scheme == "http" else HOSTS):
        return f"{host} is not a known host of {scheme}: add it, if it is spelled right"
    if ENDS.search(link):
        return "it ends in punctuation"
    if host == "github.com" and not REPOSITORY.fullmatch(link):
        return "expected github.com/OWNER/REPOSITORY, or a file, issue or folder of it"
    return None


def _identifiers(text):
    """The arXiv identifiers of a text, without what ends a sentence."""
    return [ENDS.sub("", found) for found in ARXIV.findall(text)]


def test_links_of_pages_and_docstrings_have_the_form_of_links_that_work():
    wrong = [
        f"{path.relative_to(ROOT)}: {link}: {why}"
        for path in FILES
        for link in _links(path.read_text(encoding="utf-8"))
        if (why := _wrong(link))
    ]
    assert wrong == []


def test_a_repository_has_one_spelling():
    spellings = {
        name
        for path in FILES
        for name in re.findall(
            r"github\.com/([\w-]+/[\w.-]*[\w-])", path.read_text(encoding="utf-8")
        )
    }
    assert len(spellings) == len({name.lower() for name in spellings})


def test_arxiv_identifiers_are_of_a_year_a_month_and_a_number():
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    found = {one: path for path, text in texts.items() for one in _identifiers(text)}
    assert found
    assert not {one for one in found if not IDENTIFIER.fullmatch(one)}


def test_papers_have_identifiers_of_the_right_form():
    text = (ROOT / "jood" / "methods" / "references.toml").read_text(encoding="utf-8")
    papers = tomllib.loads(text)["papers"].values()
    for paper in papers:
        if paper.get("archivePrefix") == "arXiv" or "eprint" in paper:
            assert IDENTIFIER.fullmatch(paper["eprint"]), paper
            assert paper["archivePrefix"] == "arXiv", paper
        if "doi" in paper:
            assert DOI.fullmatch(paper["doi"]), paper


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("https://gihtub.com/a/b", "gihtub.com is not a known host of https"),
        ("http://github.com/a/b", "github.com is not a known host of http:"),
        ("https://github.com/a", "expected github.com/OWNER/REPOSITORY"),
        ("https://github.com/a/b.git", "expected github.com/OWNER/REPOSITORY"),
        ("https://zenodo.org/record/1.", "it ends in punctuation"),
    ],
)
def test_a_wrong_link_is_noticed(link, why):
    assert _wrong(link).startswith(why)


def test_what_closes_around_a_link_is_not_part_of_it():
    text = '([a](https://zenodo.org/1), https://zenodo.org/2). "https://zenodo.org/3."'
    assert list(_links(text)) == [
        f"https://zenodo.org/{end}" for end in ("1", "2", "3.")
    ]
    assert _identifiers("arXiv:2306.09301; arxiv.org/abs/23.1.") == [
        "2306.09301",
        "23.1",
    ]
