"""Keras Applications' own networks with random weights, in the layout of their published files.

Keras runs on torch here. It is imported when the first network is asked for (some seconds).
"""

import functools
import os
import re
import tempfile
import warnings
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import torch
from standins.standin import StandIn

VERIFIED = "keras.applications on the torch backend, random weights and statistics"


@functools.cache
def keras():
    """Return the keras package on torch, without its configuration in the home folder."""
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"KERAS_BACKEND": "torch", "KERAS_HOME": home}
        with mock.patch.dict(os.environ, settings):
            import keras
    return keras


def network(name, size, top=False, seed=0, **options):
    """Return keras.applications.NAME with random weights, every one of them drawn.

    Pooled features where there is no top, class scores before the softmax where there is.
    """
    keras().utils.clear_session()  # automatic names begin anew
    tops = {"classes": 7, "classifier_activation": None} if top else {"pooling": "avg"}
    model = getattr(keras().applications, name)(
        include_top=top, weights=None, input_shape=(size, size, 3), **tops, **options
    )
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(_drawn(weight.path.rpartition("/")[2], weight.shape, draw))
    return model


def _drawn(name, shape, draw):
    if name == "kernel":
        inputs = int(np.prod(shape[:2]) if shape[-1] == 1 else np.prod(shape[:-1]))
        return draw.standard_normal(shape, np.float32) * (2 / inputs) ** 0.5
    if name == "count":
        return np.zeros(shape)
    low, high = {
        "gamma": (0.5, 1.5), "moving_variance": (0.5, 2.0), "variance": (0.03, 0.09),
        "mean": (0.3, 0.6), "moving_mean": (-0.5, 0.5),
    }.get(name, (-0.2, 0.2))  # fmt: skip
    return draw.uniform(low, high, shape)


def features_of(model, layer=""):
    """Return float (B, 3, S, S) -> what the network, or one of its layers, gives: (B, F)."""
    if layer:
        model = keras().Model(model.inputs, model.get_layer(layer).output)

    def features(images):
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            return model(images.permute(0, 2, 3, 1), training=False)

    return features


def weights_of(model, first=0):
    """Return {layer: [(Keras 2's name of the weight, array)]}, layers in their order.

    Args:
        model: of keras.applications.
        first: where automatic numbers begin: other models were built before in that process.
    """
    weights = {}
    for layer in model.layers:
        found = re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", layer.name)
        name = layer.name
        if found and first:
            name = f"{found[1]}_{int(found[2] or 0) + first}"
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        weights[name] = [
            (
                "depthwise_kernel" if depthwise and w.name == "kernel" else w.name,
                w.value.detach().numpy().copy(),
            )
            for w in layer.weights
        ]
    return weights


def write_keras2(path, weights, version="2.4.0", backend="tensorflow", within=""):
    """Write a Keras 2 weight file, or with `within` a whole model's group of that name."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file.create_group(within) if within else file
        root.attrs["layer_names"] = [name.encode() for name in weights]
        root.attrs["backend"] = backend.encode()
        root.attrs["keras_version"] = version.encode()
        for layer, values in weights.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name, _ in values]
            for name, value in values:
                group[f"{layer}/{name}:0"] = value
    return path


@dataclass(frozen=True)
class Case:
    """A network of keras.applications and what belongs to it here.

    Attributes:
        name: Keras's.
        backbone: timm's.
        size: of the images it is compared on, pixels.
        options: of Keras's.
        switches: that a file without top needs beside those of the origin.
        first: where automatic names begin.
        entry, file: of the catalog.
        slow: not in the fast suite.
    """

    name: str
    backbone: str
    size: int = 64
    options: dict[str, object] = field(default_factory=dict)
    switches: dict[str, object] = field(default_factory=dict)
    first: int = 0
    entry: str = ""
    file: str = "weights.h5"
    slow: bool = True

    def standin(self):
        """Return the stand-in of a file without top."""
        return StandIn(self.entry, self.write, self.size, verified=VERIFIED)

    def write(self, folder):
        """Write the file; return its path and the network's features."""
        model = network(self.name, self.size, **self.options)
        path = write_keras2(folder / self.file, weights_of(model, self.first))
        return path, own_range(model, features_of(model))


def own_range(model, features):
    """Return the function of images in the network's own range; EfficientNet begins with pixels."""
    inside = [layer for layer in model.layers if type(layer).__name__ == "Normalization"]
    if not inside:
        return features
    mean, variance = (w.value.detach().view(3, 1, 1) for w in inside[0].weights[:2])
    return lambda images: features((images * variance.sqrt() + mean) * 255)


def _width(alpha):
    return {"alpha": alpha}


CASES = (
    Case(
        "ResNet50", "resnet50", entry="radimagenet/resnet50-keras",
        file="RadImageNet-ResNet50_notop.h5", slow=False,
    ),
    Case(
        "DenseNet121", "densenet121", entry="radimagenet/densenet121-keras",
        file="RadImageNet-DenseNet121_notop.h5",
    ),
    Case(
        "InceptionV3", "inception_v3", 96, entry="radimagenet/inception_v3-keras",
        file="RadImageNet-InceptionV3_notop.h5", first=94,
    ),
    Case(
        "InceptionResNetV2", "inception_resnet_v2", 96, entry="radimagenet/inception_resnet_v2",
        file="RadImageNet-IRV2_notop.h5", first=17,
    ),
    Case("MobileNet", "mobilenetv1_025", options=_width(0.25), slow=False),
    Case("MobileNet", "mobilenetv1_100"),
    Case("MobileNetV2", "mobilenetv2_035", options=_width(0.35)),
    Case("MobileNetV2", "mobilenetv2_050", options=_width(0.5)),
    Case("MobileNetV2", "mobilenetv2_075", options=_width(0.75)),
    Case("MobileNetV2", "mobilenetv2_100", 75),  # odd sides within
    Case("MobileNetV2", "mobilenetv2_140", options=_width(1.4)),
    *(Case(f"EfficientNetB{k}", f"tf_efficientnet_b{k}") for k in range(6)),
    *(Case(f"EfficientNetB{k}", f"efficientnet_b{k}") for k in (3, 4)),
    Case("ResNet101", "resnet101"),
    Case("ResNet152", "resnet152"),
    Case("DenseNet169", "densenet169"),
    Case("DenseNet201", "densenet201"),
    Case("VGG16", "vgg16", switches={"pre_logits": False}),
    Case("VGG19", "vgg19", switches={"pre_logits": False}),
)  # fmt: skip
STANDINS = tuple(case.standin() for case in CASES if case.entry)
