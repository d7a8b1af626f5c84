"""What docs/format.md says, word by word and element by element, in plain Python."""

import heapq

WIDE = {(0, -1): 3, (-1, 0): 2, (-1, 1): 2, (-1, -1): 1, (0, -2): 1, (-2, 0): 1}
NEAR = {(0, -1): 2, (-1, 0): 2, (-1, 1): 1}


def slow_lengths(weights):
    """Return code lengths by the words of the page: of equal weights single symbols come before
    joined ones, lower before higher, older before newer."""
    heap = [(weight, 0, symbol, [symbol]) for symbol, weight in enumerate(weights)]
    heapq.heapify(heap)
    lengths = [0] * len(weights)
    age = 0
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        leaves = first[3] + second[3]
        for symbol in leaves:
            lengths[symbol] += 1
        age += 1
        heapq.heappush(heap, (first[0] + second[0], 1, age, leaves))
    return lengths


def place_of(row, width, depth):
    """Return y, x and the layer of a row."""
    place, layer = divmod(row, depth)
    return *divmod(place, width), layer


def neighbours(row, rows, width, depth, weights):
    """Return (row, weight) for each neighbour of a row that is in the grid."""
    y, x, layer = place_of(row, width, depth)
    found = []
    for (dy, dx), weight in weights.items():
        if y + dy >= 0 and 0 <= x + dx < width:
            other = ((y + dy) * width + x + dx) * depth + layer
            if other < rows:
                found.append((other, weight))
    return found


def step_of(row, width, depth):
    y, x, _ = place_of(row, width, depth)
    return 2 * y + x


def coding_order(matrix, row_scores, column_scores, grid):
    """Return (row, column) of all elements of live lines in coding order."""
    rows = [row for row, score in enumerate(row_scores) if score >= 0]
    if grid is not None:
        rows.sort(key=lambda row: step_of(row, *grid))
    columns = [column for column, score in enumerate(column_scores) if score >= 0]
    return [(row, column) for row in rows for column in columns]


def slow_split(
    matrix,
    row_scores,
    column_scores,
    *,
    sparse,
    grid=None,
    classes=16,
    signs=None,
    sign_classes=8,
    cuts=(),
    zero_bits=0,
    low_bits=0,
    codebook=(),
    sign_bit=0,
):
    """Return the sequences of a matrix of patterns: the bits of each class, the bits of each class
    of signs, the indices of each group and half, and the low bits of all values.

    Args:
        matrix: Rows of patterns.
        grid: Width and depth, or None.
        signs: `WIDE` or `NEAR` where signs are apart, else None.
        sign_bit: The number of the bit of a head that tells the halves apart.
    """
    cut = zero_bits + low_bits
    filled = [[] for _ in range(classes if sparse else 0)]
    wrong = [[] for _ in range(sign_classes if signs is not None else 0)]
    lower = [value for value in codebook if not value >> sign_bit & 1]
    indices = [[[] for _ in range(2 if signs is not None else 1)] for _ in range(len(cuts) + 1)]
    low = []

    def votes(row, column, weights, value):
        return sum(
            weight * value(matrix[other][column])
            for other, weight in neighbours(row, len(matrix), *grid, weights)
        )

    def sign(pattern):
        return 0 if pattern == 0 else -1 if pattern >> cut >> sign_bit & 1 else 1

    for row, column in coding_order(matrix, row_scores, column_scores, grid):
        pattern = matrix[row][column]
        sum_of_scores = row_scores[row] + column_scores[column]
        if grid is not None:
            sum_of_scores += votes(row, column, WIDE, lambda other: other != 0)
        own = min(sum_of_scores, classes - 1 if sparse else 15)
        if sparse:
            filled[own].append(int(pattern != 0))
            if pattern == 0:
                continue
        head = pattern >> cut
        group = sum(own >= first for first in cuts)
        low.append(pattern >> zero_bits & ((1 << low_bits) - 1))
        if signs is None:
            indices[group][0].append(codebook.index(head))
            continue
        total = votes(row, column, signs, sign)
        upper = head >> sign_bit & 1
        wrong[min(abs(total), sign_classes - 1)].append(int(upper != (total < 0)))
        half = codebook[len(lower) :] if upper else lower
        indices[group][upper].append(half.index(head))
    return filled, wrong, indices, low
