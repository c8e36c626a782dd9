"""What a search must find: by comparing a query with every vector."""

import numpy as np


def distances(metric: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the distances of ``n x dim`` vectors from a query, in the metric's own unit."""
    query, vectors = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(vectors - query, axis=1)
    if metric == "cosine":
        query = query / np.linalg.norm(query)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - vectors @ query


def nearest(metric: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the numbers of the vectors, nearest first."""
    return np.argsort(distances(metric, query, vectors), kind="stable")
