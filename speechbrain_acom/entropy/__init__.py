"""From codes to bytes and back: priors, range coder, container.

Needs numpy and constriction only. Nothing here may import torch: what goes
over the wire does not depend on a framework.
"""
