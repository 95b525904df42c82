"""Where MNIST, its relatives and CIFAR-10 are published, and what their archives are.

Licences, and what to cite, are found at:

- mnist: http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes, Burges)
- fashion_mnist: https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul, Vollgraf; MIT)
- kmnist: http://codh.rois.ac.jp/kmnist/index.html.en (Clanuwat et al.; CC BY-SA 4.0)
- emnist/...: https://www.nist.gov/itl/products-and-services/emnist-dataset (Cohen et al.)
- cifar10: https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky)

Sizes and SHA-256 are those that TensorFlow Datasets (TFDS) has registered for the same files.
"""

from typing import NamedTuple

from jaxvae.data.cifar import ARCHIVE
from jaxvae.data.download import File


class Set(NamedTuple):
    """A published set."""

    title: str
    folder: str
    """Where its archives are kept, below that of all archives."""
    files: tuple[File, ...]
    """Of MNIST and its like: training images, their labels, test images, their labels."""
    counts: dict[str, int]
    """How many images of each split TFDS takes, from the first on."""
    classes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the archives."""
        return sum(file.size for file in self.files)


def _files(lines: str, *mirrors: str) -> tuple[File, ...]:
    rows = [line.split() for line in lines.strip().splitlines()]
    return tuple(
        File(name, tuple(mirror + name for mirror in mirrors), int(size), sha256)
        for name, size, sha256 in rows
    )


MNIST = _files(
    """
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
""",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MNIST = _files(
    """
train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
""",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
KMNIST = _files(
    """
train-images-idx3-ubyte.gz 18165135 51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4
train-labels-idx1-ubyte.gz 29497 e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17
t10k-images-idx3-ubyte.gz 3041136 edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5
t10k-labels-idx1-ubyte.gz 5120 20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c
""",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
)
EMNIST = _files(
    "gzip.zip 561753746 fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    "https://biometrics.nist.gov/cs_links/EMNIST/",
)
CIFAR10 = _files(
    f"{ARCHIVE} 170052171 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "https://www.cs.toronto.edu/~kriz/",
)
SIXTY_TEN, FIFTY_TEN = {"train": 60_000, "test": 10_000}, {"train": 50_000, "test": 10_000}
ARTICLES = "T-shirt/top|Trouser|Pullover|Dress|Coat|Sandal|Shirt|Sneaker|Bag|Ankle boot"
THINGS = "airplane|automobile|bird|cat|deer|dog|frog|horse|ship|truck"
KANA = "o|ki|su|tsu|na|ha|ma|ya|re|wo"


def _numbers(classes: int) -> tuple[str, ...]:
    return tuple(map(str, range(classes)))


def _emnist(name: str, train: int, test: int, classes: int) -> dict[str, Set]:
    counts = {"train": train, "test": test}
    return {f"emnist/{name}": Set(f"EMNIST {name}", "emnist", EMNIST, counts, _numbers(classes))}


SETS = {
    "mnist": Set("MNIST", "mnist", MNIST, SIXTY_TEN, _numbers(10)),
    "fashion_mnist": Set(
        "Fashion-MNIST", "fashion_mnist", FASHION_MNIST, SIXTY_TEN, tuple(ARTICLES.split("|"))
    ),
    "kmnist": Set("Kuzushiji-MNIST", "kmnist", KMNIST, SIXTY_TEN, tuple(KANA.split("|"))),
    **_emnist("balanced", 112_800, 18_800, 47),
    **_emnist("byclass", 697_932, 116_323, 62),
    **_emnist("bymerge", 697_932, 116_323, 47),
    **_emnist("digits", 240_000, 40_000, 10),
    **_emnist("letters", 88_800, 14_800, 37),
    **_emnist("mnist", 60_000, 10_000, 10),
    "cifar10": Set("CIFAR-10", "cifar10", CIFAR10, FIFTY_TEN, tuple(THINGS.split("|"))),
}
"""By the names that TFDS has for them."""
