"""A model of CLIP's shape that needs no weights, loaded by name like any other zoo model."""

import zlib

import numpy as np
from fiftyone.core.models import EmbeddingsMixin, Model, PromptMixin

DIM = 512
SIDE = 8


class Projection(EmbeddingsMixin, PromptMixin, Model):
    """Projects images of any size, and prompts, to unit vectors of 512 dimensions."""

    media_type = "image"
    has_embeddings = True
    can_embed_prompts = True
    ragged_batches = True
    transforms = None
    preprocess = False

    def __init__(self):
        self.matrix = np.random.default_rng(0).normal(size=(SIDE * SIDE, DIM))

    def embed(self, arg):
        rows = np.linspace(0, arg.shape[0] - 1, SIDE).astype(int)
        columns = np.linspace(0, arg.shape[1] - 1, SIDE).astype(int)
        gray = arg.reshape(*arg.shape[:2], -1).mean(axis=2)[np.ix_(rows, columns)]
        return unit((gray.ravel() + 1) @ self.matrix)

    def embed_prompt(self, arg):
        return unit(np.random.default_rng(zlib.crc32(arg.encode())).normal(size=DIM))


def unit(vector):
    return vector / np.linalg.norm(vector)


def load_model(model_name, model_path, **kwargs):
    return Projection()


def download_model(model_name, model_path):
    raise AssertionError("nothing is downloaded in tests")
