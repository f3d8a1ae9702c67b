"""The network of the golden case 'cnn', with PyTorch's names, and its weights."""

from flax import linen as nn


class _Layer(nn.Module):
    """Convolution, normalisation, ReLU; padding 1 on both sides, as in PyTorch."""

    features: int

    @nn.compact
    def __call__(self, x):
        pad = ((1, 1), (1, 1))
        x = nn.Conv(self.features, (3, 3), 2, pad, use_bias=False, name="conv")(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn")(x)
        return nn.relu(x)


class TinyCNN(nn.Module):
    """The network of the case 'cnn', with PyTorch's names."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), padding=((1, 1), (1, 1)), use_bias=False, name="conv1")(
            x
        )
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn1")(x)
        x = nn.relu(x)
        for name, features in (("layer2", 32), ("layer3", 48), ("layer4", 64)):
            x = _Layer(features, name=name)(x)
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


def flax_variables(weights):
    """PyTorch's state dict as Flax variables: OIHW -> HWIO, [out, in] -> [in, out]."""
    names = {"weight": ("params", "scale"), "bias": ("params", "bias")}
    names |= {
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    variables = {"params": {}, "batch_stats": {}}
    for key, value in weights.items():
        *path, leaf = key.split(".")
        if leaf == "num_batches_tracked":
            continue
        collection, name = names[leaf]
        if value.ndim == 4:
            value, name = value.transpose(2, 3, 1, 0), "kernel"
        elif value.ndim == 2:
            value, name = value.T, "kernel"
        node = variables[collection]
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return variables
