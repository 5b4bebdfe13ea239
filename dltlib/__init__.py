"""A reproduction of *Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask*.

Zhou, Lan, Liu & Yosinski, NeurIPS 2019, arXiv:1905.01067. Import the module you need
(``from dltlib import experiments``); the package itself imports nothing, so that the command
line starts at once.
"""

__version__ = "0.1.0"
