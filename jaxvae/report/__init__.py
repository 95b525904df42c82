"""A page per run: one HTML file that holds all it needs, with the model in it, to look and to send.

`contents` says what the page is about, in words, numbers and arrays; `weights` is the network as
layers that a browser computes; `html` puts both into the files of the folder `page`.
"""

from jaxvae.report.contents import Reported, contents
from jaxvae.report.html import FILE, Page, write

__all__ = ["FILE", "Page", "Reported", "contents", "write"]
