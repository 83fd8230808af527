"""Weights of others that can be fetched: addresses, hashes, licences.

Where the entries are from: files at addresses with a commit were hashed in
copies of those repositories; SHA-256 and size of the others are published by
several users of the address, who agree (torchvision's names begin with theirs).
"""

import dataclasses
import pathlib
import urllib.parse

_GITHUB = "https://raw.githubusercontent.com/"


@dataclasses.dataclass(frozen=True)
class Weights:
  """A file that can be fetched.

  Attributes:
    url: its address, https.
    sha256: of what the address gives, in hex.
    size: of that, in bytes.
    licence: its licence, as SPDX has it.
    purpose: what it is used for.
    variable: environment variable that names the file.
    member: name of the wanted file, where the address gives a zip archive.
    member_sha256: of that file.
  """

  url: str
  sha256: str
  size: int
  licence: str
  purpose: str
  variable: str
  member: str = ""
  member_sha256: str = ""

  @property
  def file(self) -> str:
    """Name of the file in the cache."""
    return (
      self.member
      or pathlib.PurePosixPath(urllib.parse.urlsplit(self.url).path).name
    )

  def sentence(self) -> str:
    """Address, size, SHA-256 and licence."""
    inside = f" ({self.member} in it)" if self.member else ""
    return (
      f"{self.purpose}: {self.url}{inside}, {_megabytes(self.size)}, licence"
      f" {self.licence}, SHA-256 {self.sha256}"
    )


_LPIPS = (
  "richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963"
  "/lpips/weights/v0.1/"
)
_BLAZE = "hollance/BlazeFace-PyTorch/852bfd8e3d44ed6775761105bdcead4ef389a538/"
CATALOGUE: dict[str, Weights] = {
  "yunet": Weights(
    url=_GITHUB + "ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_320_320.onnx",
    sha256="81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
    size=317434,
    licence="Apache-2.0",
    purpose="YuNet face detector",
    variable="CHIBIJAX_YUNET",
  ),
  "blazeface": Weights(
    url=_GITHUB + _BLAZE + "blazeface.pth",
    sha256="54ecff653feaaaf1f7d44b6aff28fd2fc50e483a4e847563b6dd261369c43ba4",
    size=420224,
    licence="Apache-2.0",
    purpose="BlazeFace face detector, for near faces",
    variable="CHIBIJAX_BLAZEFACE",
  ),
  "blazeface-back": Weights(
    url=_GITHUB + _BLAZE + "blazefaceback.pth",
    sha256="e2c03bb3ae45e769eaaa0a7cc7d4f61f54a5e3fbae6367d870166702e7022b11",
    size=594825,
    licence="Apache-2.0",
    purpose="BlazeFace face detector, for far faces",
    variable="CHIBIJAX_BLAZEFACE",
  ),
  "face-mesh": Weights(
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/"
    "face_landmarker/float16/1/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3758596,
    licence="Apache-2.0",
    purpose="MediaPipe Face Mesh, 478 landmarks",
    variable="CHIBIJAX_FACE_MESH",
    member="face_landmarks_detector.tflite",
    member_sha256=(
      "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5"
    ),
  ),
  "lpips-alex": Weights(
    url=_GITHUB + _LPIPS + "alex.pth",
    sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    size=6009,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for AlexNet",
    variable="CHIBIJAX_LPIPS_ALEX",
  ),
  "lpips-squeeze": Weights(
    url=_GITHUB + _LPIPS + "squeeze.pth",
    sha256="4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    size=10811,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for SqueezeNet",
    variable="CHIBIJAX_LPIPS_SQUEEZE",
  ),
  "lpips-vgg": Weights(
    url=_GITHUB + _LPIPS + "vgg.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    size=7289,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for VGG16",
    variable="CHIBIJAX_LPIPS_VGG",
  ),
  "squeezenet": Weights(
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    size=4958839,
    licence="BSD-3-Clause",
    purpose="SqueezeNet v1.1 of torchvision, trained on ImageNet",
    variable="CHIBIJAX_SQUEEZENET",
  ),
  "vgg16": Weights(
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    size=553433881,
    licence="BSD-3-Clause",
    purpose="VGG16 of torchvision, trained on ImageNet",
    variable="CHIBIJAX_VGG16",
  ),
  "vgg19": Weights(
    url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    size=574673361,
    licence="BSD-3-Clause",
    purpose="VGG19 of torchvision, trained on ImageNet",
    variable="CHIBIJAX_VGG19",
  ),
  "alexnet": Weights(
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    size=244408911,
    licence="BSD-3-Clause",
    purpose="AlexNet of torchvision, trained on ImageNet",
    variable="CHIBIJAX_ALEXNET",
  ),
  "inception": Weights(
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
    "metrics/inception-2015-12-05.pt",
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    size=95607719,
    licence="Apache-2.0",
    purpose="Inception-v3 of TensorFlow as clean-fid reads it, for FID",
    variable="CHIBIJAX_INCEPTION",
  ),
  "dinov2": Weights(
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/"
    "dinov2_vits14_pretrain.pth",
    sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    size=88283115,
    licence="Apache-2.0",
    purpose="DINOv2 ViT-S/14",
    variable="CHIBIJAX_DINOV2",
  ),
}


def _megabytes(size: int) -> str:
  return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
