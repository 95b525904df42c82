from jaxvae.cli import main

main()
