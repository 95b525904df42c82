"""A VQ-VAE of 32x32 colour images: CIFAR-10, after Jackson-Kang's tutorial.

loss = half the squared error + 0.046875 |z - sg(e)|^2, sums over an image, which is 3072 / 2 times
his mean squared error + 0.25 mean commitment. Convolutions k4 s2 of 3-128-128 channels, k3 s1, a
residual block, 768 codes of 128 numbers at 8x8 positions, moving averages of decay 0.999; the same
back, linear. Adam 2e-4, batch 128, 50 epochs. van den Oord et al. 2017 (arXiv:1711.00937);
Jackson-Kang/Pytorch-VAE-tutorial, 02_Vector_Quantized_Variational_AutoEncoder.ipynb at 38b4c32.

His quantiser reshapes (batch, channels, 8, 8) to rows of 128, so that a code is two channels of the
whole map; here, as in the paper, it is all channels at a position. The network differs by what the
package's can be: a ReLU between the strided convolutions, his residual 3x3 and 1x1 in one block
behind a 3x3, 1x1 before the codes, and k4 for k2 on the way back. His last version has
--model.hidden-dims 512 512 --model.latent-dim 16 --model.codes 512.

Expect: validation loss 21.2 nats at epoch 8 (recon 18.10, commitment 65.6, perplexity 29.8; MSE
    0.0118 per pixel) of 8, on the first 4096 images of JPEG copies of CIFAR-10. After these 256
    steps layout and light are there, edges and most colours not; the notebook has an MSE of 0.0074
    and a perplexity of 665 after 19,550.
Run: jaxvae train cifar_vq_vae --data.source cifar10_jpeg --data.limit 4096 --train.epochs 8   (21
    min on a core that did other work too, of which this took 6.4 min)
    cifar10_jpeg was a set of TensorFlow Datasets in TFDS_DATA_DIR, which nothing fetches. Without
    --data.source, CIFAR-10 itself is fetched; JPEG copies of your own are --data.source FOLDER.
"""

from jaxvae import Data, Experiment, Optimizer, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="cifar_vq_vae",
    data=Data("cifar10", batch_size=128),
    model=VQ(
        network="conv",
        hidden_dims=(128, 128),
        kernel_size=4,
        residual_blocks=1,
        residual_dim=128,
        latent_dim=128,
        codes=768,
        decay=0.999,
        output="linear",
    ),
    objective=Quantisation("mse", commitment=0.046875),
    optimizer=Optimizer("adam", learning_rate=2e-4),
    train=Train(epochs=50, figures_every=0),
)
