"""scikit-learn's k-means, for `fullsize.py`: `python fullsize_peer.py FOLDER INIT`.

It runs in build/fullsize, which has scikit-learn and not this package.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from sklearn import __version__
from sklearn.cluster import KMeans


def main():
    folder, init, clusters, iterations = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    values = np.load(folder / "kmeans.npy").reshape(-1, 1)
    start = init
    if init != "k-means++":
        start = np.load(folder / f"kmeans-{init}-start.npy").astype(values.dtype).reshape(-1, 1)
    began = time.perf_counter()
    model = KMeans(clusters, init=start, n_init=1, max_iter=iterations, random_state=0).fit(values)
    seconds = time.perf_counter() - began
    np.save(folder / f"kmeans-{init}-peer.npy", model.cluster_centers_)
    result = {"seconds": seconds, "iterations": model.n_iter_, "scikit-learn": __version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
