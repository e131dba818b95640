"""Convolutional networks in their published layouts: torchvision, RadImageNet's PyTorch files,
RadiologyNET, TorchXRayVision, and backbones inside training modules.

The networks are torchvision's own, changed where the origin changed them; the port of Keras's
ResNet50 is written here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from radstart.backbones.operators import declare_torchvision_operators

declare_torchvision_operators()

from standins.standin import Features, StandIn, randomised  # noqa: E402
from torchvision import models  # noqa: E402

CLASSES = 36  # of RadiologyNET


@dataclass(frozen=True)
class Case:
    """A stand-in with what its catalog entry says: origin and timm's name of the backbone."""

    origin: str
    backbone: str
    standin: StandIn
    slow: bool = False


def network(name: str, classes: int = 1000) -> nn.Module:
    """Return torchvision's network, norms and biases randomised, the same at every call.

    Kernels keep the signal's size: where it dies out, any two networks agree.
    """
    own = {} if not name.startswith(("vgg", "inception")) else {"init_weights": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = getattr(models, name)(weights=None, num_classes=classes, **own)
        return randomised(lively(model))


def lively(model: nn.Module) -> nn.Module:
    """Draw the convolutions by He's rule."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def features(model: nn.Module) -> Features:
    """Return a function: images -> what torchvision's network gives to its last layer."""
    heads = {"fc": model.fc} if hasattr(model, "fc") else {}
    last = heads.get("fc") or _last(model.classifier)

    def compute(images: Tensor) -> Tensor:
        kept: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].clone()))
        with torch.inference_mode():
            model(images)
        hook.remove()
        return kept[0]

    return compute


def _last(classifier: nn.Module) -> nn.Module:
    return classifier[-1] if isinstance(classifier, nn.Sequential) else classifier


def optimizer_state() -> dict[str, object]:
    """Return what Adam's state_dict looks like, small."""
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    groups = [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]
    return {"state": {0: moments}, "param_groups": groups}


# torchvision


def _torchvision(name: str, folder: Path) -> tuple[Path, Features]:
    model = network(name)
    path = folder / f"{name}.pth"
    torch.save(model.state_dict(), path)
    return path, features(model)


def _sorted(name: str, folder: Path) -> tuple[Path, Features]:
    """Write safetensors, which orders names otherwise than the network does."""
    model = network(name)
    path = folder / f"{name}.safetensors"
    save_file(dict(sorted(model.state_dict().items(), reverse=True)), path)
    return path, features(model)


def _old_densenet(folder: Path) -> tuple[Path, Features]:
    """Write "denselayer1.norm.1.weight" and no counters, as in the files of 2017."""
    model = network("densenet121")
    old = {}
    for name, tensor in model.state_dict().items():
        before, dot, layer = name.partition(".denselayer")
        number, _, rest = layer.partition(".")
        if dot:
            kind, leaf = rest.split(".")
            name = f"{before}.denselayer{number}.{kind[:-1]}.{kind[-1]}.{leaf}"
        if not name.endswith("num_batches_tracked"):
            old[name] = tensor
    torch.save(old, folder / "densenet121.pth")
    return folder / "densenet121.pth", features(model)


# RadImageNet


def _radimagenet(name: str, aux: bool, folder: Path) -> tuple[Path, Features]:
    """Write the children of torchvision's network, without the classifier, under numbers."""
    model = network(name)
    if name == "inception_v3" and not aux:
        model.AuxLogits, model.aux_logits = None, False
    kept = [child for key, child in model.named_children() if key not in ("fc", "classifier")]
    holder = nn.Module()
    holder.backbone = nn.Sequential(*kept)
    torch.save(holder.state_dict(), folder / f"{name}.pt")
    return folder / f"{name}.pt", features(model)


class KerasBottleneck(nn.Module):
    """Keras Applications' bottleneck: biased convolutions, the stride in the first of them."""

    def __init__(self, inside: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, stride)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.bn1, self.bn2 = (nn.BatchNorm2d(width, eps=1.001e-5) for _ in range(2))
        self.bn3 = nn.BatchNorm2d(4 * width, eps=1.001e-5)
        self.downsample = None
        if shortcut:
            norm = nn.BatchNorm2d(4 * width, eps=1.001e-5)
            self.downsample = nn.Sequential(nn.Conv2d(inside, 4 * width, 1, stride), norm)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn3(self.conv3(y)) + shortcut)


class KerasResNet50(nn.Module):
    """Keras Applications' ResNet50 without its top, under torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.bn1 = nn.BatchNorm2d(64, eps=1.001e-5)
        inside = 64
        for stage, count in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            blocks = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(KerasBottleneck(inside, width, stride, shortcut=not number))
                inside = 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(functional.relu(self.bn1(self.conv1(x))), (1, 1, 1, 1))
        x = functional.max_pool2d(x, 3, 2)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.mean(dim=(2, 3))


def _port(folder: Path) -> tuple[Path, Features]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = randomised(lively(KerasResNet50()))
    path = folder / "RadImageNet-ResNet50_notop.pth"
    torch.save(model.state_dict(), path)
    return path, torch.inference_mode()(model.forward)


# RadiologyNET


class Parts(nn.Module):
    """The parts of a network as EfficientNet, MobileNetV3 and VGG are written."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.features, self.avgpool = model.features, model.avgpool
        self.classifier = model.classifier


class Whole(nn.Module):
    """A network under `model.`, as ResNets and InceptionV3 are written."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class Twice(nn.Module):
    """The parts and the whole, as DenseNet121 is written."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = model.features, model.classifier
        self.model = model


def _radiologynet(
    name: str, wrapper: Callable[[nn.Module], nn.Module], folder: Path
) -> tuple[Path, Features]:
    model = network(name, CLASSES)
    if name == "inception_v3":  # its auxiliary classifier keeps ImageNet's number of classes
        model.AuxLogits.fc = nn.Linear(768, 1000)
    content = {
        "time": "2023-05-06 07:08:09.101112",
        "model_state": wrapper(model).state_dict(),
        "model_name": name,
        "optimizer_state": optimizer_state(),
        "optimizer_name": "AdamW",
        "epoch": 17,
    }
    torch.save(content, folder / f"{name}.pth")
    return folder / f"{name}.pth", features(model)


# TorchXRayVision


def grey(name: str) -> nn.Module:
    model = network(name, 18)
    stem = model.conv1 if name == "resnet50" else model.features.conv0
    stem.weight = nn.Parameter(stem.weight[:, :1].detach().clone())
    stem.in_channels = 1
    return model


def _xrv_densenet(folder: Path) -> tuple[Path, Features]:
    """Write the state dict of the module that the release files pickle, thresholds set."""
    model = grey("densenet121")
    path = folder / "densenet121-res224-all.pt"
    torch.save(dict(model.state_dict()) | {"op_threshs": torch.linspace(0.1, 0.4, 18)}, path)
    return path, features(model)


def _xrv_resnet(wrapped: bool, folder: Path) -> tuple[Path, Features]:
    model = grey("resnet50")
    holder = Whole(model) if wrapped else model
    path = folder / "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt"
    torch.save(holder.state_dict(), path)
    return path, features(model)


class TinyDenseNet(nn.Module):
    """A module that is pickled whole, as the releases' DenseNets are."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3))


def pickled_module(folder: Path) -> Path:
    """Write a pickled module under a release's name."""
    path = folder / "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
    torch.save(TinyDenseNet(), path)
    return path


# training modules


def _training(
    name: str,
    prefix: str,
    beside: Mapping[str, tuple[int, ...]],
    container: Callable[[dict[str, Tensor]], object],
    folder: Path,
) -> tuple[Path, Features]:
    """Write a backbone without its classifier under a prefix, with tensors beside it."""
    model = network(name)
    tensors = {
        f"{prefix}{key}": tensor
        for key, tensor in model.state_dict().items()
        if not key.startswith(("fc.", "classifier."))
    }
    generator = torch.Generator().manual_seed(1)
    tensors |= {key: torch.rand(shape, generator=generator) for key, shape in beside.items()}
    torch.save(container(tensors), folder / "last.ckpt")
    return folder / "last.ckpt", features(model)


def _lightning(tensors: dict[str, Tensor]) -> object:
    """Return what Lightning saves: numbers that are tensors lie about in it."""
    score = torch.tensor(0.5)
    kept = {"monitor": "auc", "best_model_score": score, "best_k_models": {"a.ckpt": score}}
    return {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": tensors,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": 9}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'auc'}": kept},
        "optimizer_states": [optimizer_state()],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-3},
    }


def _sequential(folder: Path) -> tuple[Path, Features]:
    """Write Lightly's habit: the children of a ResNet under backbone., a head beside it."""
    model = network("resnet18")
    holder = nn.Module()
    holder.backbone = nn.Sequential(*list(model.children())[:-1])
    holder.projection_head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(_lightning(holder.state_dict()), folder / "lightly.ckpt")
    return folder / "lightly.ckpt", features(model)


_SOLO = {
    "momentum_backbone.conv1.weight": (64, 3, 7, 7),
    "momentum_backbone.layer1.0.conv1.weight": (64, 64, 3, 3),
    "projector.0.weight": (4, 4),
    "momentum_projector.0.weight": (4, 4),
    "classifier.weight": (5, 4),
    "queue": (2, 4, 8),
}
_MOCO = {
    "encoder_q.fc.0.weight": (4, 4),
    "encoder_q.fc.2.weight": (2, 4),
    "encoder_k.conv1.weight": (64, 3, 7, 7),
    "encoder_k.fc.0.weight": (4, 4),
    "queue": (4, 16),
    "queue_ptr": (1,),
}
_SUPERVISED = {"model.fc.weight": (3, 512), "model.fc.bias": (3,), "criterion.pos_weight": (3,)}
_SEGMENTATION = {"decoder.blocks.0.conv1.0.weight": (4, 4, 3, 3), "segmentation_head.0.bias": (1,)}


def _case(
    origin: str,
    backbone: str,
    entry: str,
    write: Callable[[Path], tuple[Path, Features]],
    original: str,
    size: int = 64,
    channels: int = 3,
    slow: bool = False,
) -> Case:
    return Case(origin, backbone, StandIn(entry, write, size, channels, original), slow)


_TORCHVISION = (
    ("mobilenet_v3_small", "mobilenetv3_small_100", 64),
    ("mobilenet_v3_large", "mobilenetv3_large_100", 64),
    ("efficientnet_b3", "efficientnet_b3", 64),
    ("efficientnet_b4", "efficientnet_b4", 64),
    ("vgg16", "vgg16", 32),
    ("inception_v3", "inception_v3", 96),
    ("resnet18", "resnet18", 64),
    ("resnet34", "resnet34", 64),
    ("resnet50", "resnet50", 64),
    ("resnet101", "resnet101", 64),
    ("resnet152", "resnet152", 64),
    ("densenet121", "densenet121", 64),
)
_RADIOLOGYNET: tuple[tuple[str, str, Callable[[nn.Module], nn.Module], int], ...] = (
    ("resnet18", "resnet18", Whole, 64),
    ("resnet34", "resnet34", Whole, 64),
    ("resnet50", "resnet50", Whole, 64),
    ("densenet121", "densenet121", Twice, 64),
    ("inception_v3", "inception_v3", Whole, 96),
    ("efficientnet_b3", "efficientnet_b3", Parts, 64),
    ("efficientnet_b4", "efficientnet_b4", Parts, 64),
    ("mobilenet_v3_small", "mobilenetv3_small_100", Parts, 64),
    ("mobilenet_v3_large", "mobilenetv3_large_100", Parts, 64),
    ("vgg16", "vgg16", Parts, 32),
)

CASES: tuple[Case, ...] = (
    *(
        _case(
            "torchvision", timm, f"torchvision/{timm}", partial(_torchvision, name),
            f"torchvision {name}", size,
        )
        for name, timm, size in _TORCHVISION
    ),
    _case(
        "torchvision", "mobilenetv3_small_100", "torchvision/mobilenetv3_small_100",
        partial(_sorted, "mobilenet_v3_small"), "torchvision mobilenet_v3_small, names sorted",
    ),
    _case(
        "torchvision", "densenet121", "torchvision/densenet121", _old_densenet,
        "torchvision densenet121, names of 2017",
    ),
    _case(
        "radimagenet_torch", "resnet50", "radimagenet/resnet50",
        partial(_radimagenet, "resnet50", False), "torchvision resnet50",
    ),
    _case(
        "radimagenet_torch", "inception_v3", "radimagenet/inception_v3",
        partial(_radimagenet, "inception_v3", False), "torchvision inception_v3", 96,
    ),
    _case(
        "radimagenet_torch", "inception_v3", "radimagenet/inception_v3",
        partial(_radimagenet, "inception_v3", True),
        "torchvision inception_v3 with its auxiliary classifier", 96,
    ),
    _case(
        "radimagenet_torch", "densenet121", "radimagenet/densenet121",
        partial(_radimagenet, "densenet121", False), "torchvision densenet121",
    ),
    _case(
        "radimagenet_port", "resnet50", "radimagenet/resnet50-port", _port,
        "Keras Applications' ResNet50 written in PyTorch",
    ),
    *(
        _case(
            "radiologynet", timm, f"radiologynet/{timm}", partial(_radiologynet, name, wrapper),
            f"torchvision {name}", size,
        )
        for name, timm, wrapper, size in _RADIOLOGYNET
    ),
    _case(
        "torchxrayvision", "densenet121", "torchxrayvision/densenet121-res224-all", _xrv_densenet,
        "torchvision densenet121, one channel", channels=1,
    ),
    _case(
        "torchxrayvision", "resnet50", "torchxrayvision/resnet50-res512-all",
        partial(_xrv_resnet, False), "torchvision resnet50, one channel", channels=1,
    ),
)  # fmt: skip
"""What the catalog has an entry for."""

TRAININGS: tuple[Case, ...] = (
    _case(
        "torchvision", "efficientnet_b0", "", partial(_torchvision, "efficientnet_b0"),
        "torchvision efficientnet_b0",
    ),
    _case(
        "torchxrayvision", "resnet50", "", partial(_xrv_resnet, True),
        "torchvision resnet50, one channel, under model.", channels=1, slow=True,
    ),
    _case(
        "ssl", "resnet18", "", partial(_training, "resnet18", "backbone.", _SOLO, _lightning),
        "solo-learn",
    ),
    _case(
        "ssl", "resnet18", "", partial(_training, "resnet18", "encoder_q.", _MOCO, _lightning),
        "MoCo",
    ),
    _case(
        "ssl", "resnet18", "", partial(_training, "resnet18", "model.", _SUPERVISED, _lightning),
        "Lightning",
    ),
    _case(
        "ssl", "densenet121", "", partial(_training, "densenet121", "net.backbone.", {}, dict),
        "net.backbone.", slow=True,
    ),
    _case(
        "ssl", "resnet18", "", partial(_training, "resnet18", "encoder.", _SEGMENTATION, dict),
        "an encoder beside a decoder",
    ),
    _case(
        "ssl", "efficientnet_b0", "",
        partial(_training, "efficientnet_b0", "student.", {"student_head.0.weight": (2, 2)}, dict),
        "torchvision's EfficientNet as a student alone",
    ),
    _case("ssl", "resnet18", "", _sequential, "Lightly, nn.Sequential of children"),
)  # fmt: skip
"""What the catalog has no entry for: trainings of one's own, mostly."""

STANDINS: tuple[StandIn, ...] = tuple(case.standin for case in CASES)
