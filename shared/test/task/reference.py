"""Makes reference.json: what other libraries say to the same numbers.

    pip install numpy scipy scikit-learn && python reference.py > reference.json

- boxes: the largest number of pairs of one class with IoU >= 0.5, by scipy.sparse.csgraph.maximum_bipartite_matching
- pixels: the mean IoU of two images of classes, by sklearn.metrics.jaccard_score(average="macro")
- scores: the probabilities of logits, by scipy.special.softmax
"""

import json

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.special import softmax
from sklearn.metrics import jaccard_score

random = np.random.default_rng(7)


def boxes(count):
    # Crowded on purpose: a greedy choice is often not the largest one.
    x1 = random.integers(0, 12, (count, 2))
    return np.hstack([x1, x1 + random.integers(4, 9, (count, 2))]).astype(float)


def iou(left, right):
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    area = lambda each: np.prod(each[:, 2:] - each[:, :2], axis=1)
    return both / (area(left)[:, None] + area(right)[None, :] - both)


def matched(left, right, left_classes, right_classes):
    fits = (iou(left, right) >= 0.5) & (left_classes[:, None] == right_classes[None, :])
    return int((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).sum())


def box_case():
    left, right = boxes(random.integers(3, 14)), boxes(random.integers(3, 14))
    left_classes, right_classes = random.integers(0, 2, len(left)), random.integers(0, 2, len(right))
    return {
        "expected": np.hstack([left, left_classes[:, None]]).tolist(),
        "actual": np.hstack([right, right_classes[:, None]]).tolist(),
        "matched": matched(left, right, left_classes, right_classes),
    }


def pixel_case():
    left = random.integers(0, 4, 30)
    right = np.where(random.random(30) < 0.7, left, random.integers(0, 5, 30))
    value = jaccard_score(left, right, average="macro", labels=np.union1d(left, right))
    return {"expected": left.tolist(), "actual": right.tolist(), "meanIou": float(value)}


def score_case():
    logits = np.round(random.normal(0, 6, (3, 5)), 3)
    return {"logits": logits.tolist(), "probabilities": softmax(logits, axis=1).tolist()}


print(
    json.dumps(
        {
            "boxes": [box_case() for _ in range(40)],
            "pixels": [pixel_case() for _ in range(10)],
            "scores": [score_case() for _ in range(3)],
        }
    )
)
