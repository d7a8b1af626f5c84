/* See kdc.h. What is read here, docs/format.md tells in the same words. */
#include "kdc.h"
#include "kdc_tables.h"

#include <string.h>

enum {
    RAW = 1, CODED = 2, BOOL = 0, UINT8 = 5, COMPLEX128 = 13, INT4 = 23, INT2 = 25,
    HEAD = 5, TRAILER = 12, RAW_BLOCK = 4 << 20,
    LONGEST = 30, MOST_SYMBOLS = 4096, BAND = 1 << 20, CLASSES = 16, SIGN_CLASSES = 8,
    DEAD = 128 /* instead of a score: more than any sum of scores and votes */
};

/* A rule of the format; a call that has to succeed; memory that has to be there. */
#define NEED(condition) do { if (!(condition)) return KDC_DAMAGED; } while (0)
#define TRY(call) do { kdc_status s_ = (call); if (s_ != KDC_OK) return s_; } while (0)
#define TAKE(a, pointer, count) \
    do { if (!((pointer) = take(a, count, sizeof *(pointer)))) return KDC_NEED_MEMORY; } while (0)

/* Memory: pieces of what the caller gave, one after the other, each at a multiple of 8. A function
 * that is given a copy of the arena has taken nothing when it returns. */
typedef struct { uint8_t *base; size_t size, used, *need; } arena;

static void *take(arena *a, uint64_t count, size_t width) {
    uint64_t end = count < SIZE_MAX / 32 ? a->used + (count * width + 8) / 8 * 8 : SIZE_MAX;
    size_t start = a->used;
    if (end > *a->need) *a->need = (size_t)end;
    if (end > a->size) return NULL;
    a->used = (size_t)end;
    return a->base + start;
}

/* Bits from the front, those of a byte from the most significant one, or from the least if
 * reversed. After the end come zeros, and `place` is and stays end + 1. */
typedef kdc_bits bits;

static bits bits_of(const uint8_t *data, size_t bytes) { return (bits){data, 8 * bytes, 0, 0}; }
static int over(const bits *b) { return b->place > b->end; }
static uint32_t fail(bits *b) { return b->place = b->end + 1, 0; }
static void skip(bits *b, size_t count) { if ((b->place += count) > b->end) fail(b); }

static uint32_t peek_slowly(const bits *b) { /* near the end, or reversed */
    static const uint8_t mirrored[] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
    const uint8_t *d = b->data + b->place / 8;
    uint64_t word = 0;
    for (size_t i = 0, at = b->place; i < 5 && at < b->end; i++, at = (at | 7) + 1) {
        uint64_t byte = b->reversed ? mirrored[d[i] & 15] << 4 | mirrored[d[i] >> 4] : d[i];
        word |= byte << (56 - 8 * i);
    }
    return (uint32_t)(word << b->place % 8 >> 32);
}

static inline uint32_t peek(const bits *b) {
    const uint8_t *d = b->data + b->place / 8;
    if (b->place + 64 > b->end || b->reversed) return peek_slowly(b);
    uint64_t word = (uint64_t)d[0] << 56 | (uint64_t)d[1] << 48 | (uint64_t)d[2] << 40 |
        (uint64_t)d[3] << 32 | (uint64_t)d[4] << 24 | (uint64_t)d[5] << 16 | (uint64_t)d[6] << 8 |
        d[7];
    return (uint32_t)(word << b->place % 8 >> 32);
}

static uint32_t number(bits *b, unsigned count) { /* of up to 32 bits */
    uint32_t value = count ? peek(b) >> (32 - count) : 0;
    skip(b, count);
    return over(b) ? 0 : value;
}

static uint64_t golomb(bits *b, unsigned order) {
    unsigned count = order;
    for (; !number(b, 1); count++)
        if (over(b) || count == order + 63 || count == 64) return fail(b);
    uint64_t low = count > 32 ? (uint64_t)number(b, count - 32) << 32 : 0;
    low |= number(b, count > 32 ? 32 : count);
    if (count == 64 && low >> order) return fail(b);
    return (count < 64 ? (uint64_t)1 << count : 0) + low - ((uint64_t)1 << order);
}

static int signed_golomb(bits *b, unsigned order) { /* All signed numbers are small. */
    uint64_t value = golomb(b, order);
    if (value > 255) return (int)fail(b);
    return value % 2 ? -(int)(value / 2) - 1 : (int)(value / 2);
}

static kdc_status finish(bits *b) { /* Less than a byte is left, and its bits are zero. */
    NEED(!over(b) && b->end - b->place < 8 && number(b, (unsigned)(b->end - b->place)) == 0);
    return KDC_OK;
}

static size_t bytes_left(const bits *b) { return over(b) ? 0 : (b->end - b->place) / 8; }

static const uint8_t *bytes(bits *b, uint64_t count) {
    const uint8_t *start = b->data + b->place / 8;
    if (count > bytes_left(b)) fail(b);
    else b->place += 8 * (size_t)count;
    return start;
}

static uint64_t varint(bits *b) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint32_t byte = number(b, 8);
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return byte || !shift ? value : fail(b);
    }
    return fail(b);
}

static void text(bits *b, uint64_t length, const char **start, size_t *size) { /* UTF-8 */
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t *s = bytes(b, length), *end = over(b) ? s : s + length;
    *start = (const char *)s;
    *size = (size_t)(end - s);
    while (s < end) {
        unsigned first = *s++, more = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        uint32_t point = more ? first & 0x3F >> more : first, i = 0;
        for (; i < more && s < end && *s >> 6 == 2; i++) point = point << 6 | (*s++ & 0x3F);
        if (i < more || (!more && first > 0x7F) || first > 0xF7 || point < least[more] ||
            point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) fail(b); /* surrogates */
    }
}

static uint64_t pattern_at(const uint8_t *at, size_t item) {
    uint64_t pattern = 0;
    while (item-- > 0) pattern = pattern << 8 | at[item];
    return pattern;
}

static void put_pattern(uint8_t *at, unsigned item, uint64_t pattern) {
    for (unsigned i = 0; i < item; i++) at[i] = (uint8_t)(pattern >> 8 * i);
}

/* Checksums. */
static uint32_t crc32(const kdc_file *f, const uint8_t *at, size_t size) {
    uint32_t crc = UINT32_MAX;
    for (; size >= 4; size -= 4, at += 4) {
        crc ^= at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = f->crc[768 + (crc & 255)] ^ f->crc[512 + (crc >> 8 & 255)] ^
            f->crc[256 + (crc >> 16 & 255)] ^ f->crc[crc >> 24];
    }
    while (size--) crc = crc >> 8 ^ f->crc[(crc ^ *at++) & 255];
    return ~crc;
}

static size_t sum_bytes(uint64_t length) { return length < 4096 ? 2 : 4; }

static kdc_status check_block(const kdc_file *f, const uint8_t *at, size_t length) {
    uint64_t wrong = crc32(f, at, length) ^ pattern_at(at + length, sum_bytes(length));
    return (wrong & (length < 4096 ? 0xFFFF : 0xFFFFFFFF)) ? KDC_CHECKSUM : KDC_OK;
}

/* Sorting: numbers, or strings with their lengths, by their places in a text. */
static int before(const uint8_t *strings, uint32_t a, uint32_t b) {
    if (!strings) return a < b;
    bits r = bits_of(strings + a, 3); /* At least a byte comes after each string. */
    size_t length = (size_t)varint(&r), i = 0;
    for (length += r.place / 8; i < length && strings[a + i] == strings[b + i]; i++) {}
    return i < length && strings[a + i] < strings[b + i];
}

static void sort(uint32_t *x, size_t count, const uint8_t *strings) { /* Shell's */
    size_t gap = 1, j;
    while (gap < count / 3) gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < count; i++) {
            uint32_t moving = x[i];
            for (j = i; j >= gap && before(strings, moving, x[j - gap]); j -= gap)
                x[j] = x[j - gap];
            x[j] = moving;
        }
}

static kdc_status all_differ(uint32_t *places, uint64_t count, const uint8_t *strings) {
    sort(places, (size_t)count, strings);
    for (uint64_t i = 1; i < count; i++) NEED(before(strings, places[i - 1], places[i]));
    return KDC_OK;
}

/* Huffman codes, DEFLATE's included. A symbol is `together` digits of `width` bits. */
typedef struct {
    uint16_t *fast;   /* For the bits ahead, a code's place in `sorted` * 16 + its length, or 0. */
    uint16_t *sorted; /* Symbols by (length, symbol). */
    uint32_t limit[LONGEST + 1];  /* Bits ahead below it begin with a code of at most the length. */
    uint32_t offset[LONGEST + 1]; /* From a code of the length to its place in `sorted`. */
    unsigned longest, together, width;
} code;

static kdc_status take_code(arena *a, code *c, size_t symbols) {
    TAKE(a, c->fast, (size_t)1 << KDC_FAST_BITS);
    TAKE(a, c->sorted, symbols);
    return KDC_OK;
}

/* Makes the canonical code of lengths up to LONGEST; 0 is that of a symbol that does not occur. */
static kdc_status make_code(code *c, const uint8_t *lengths, size_t symbols) {
    size_t count[LONGEST + 1] = {0}, start[LONGEST + 1], filled = 0;
    uint64_t next = 0; /* the next code, at the upper end of 32 bits */
    uint32_t used = 0;
    for (size_t i = 0; i < symbols; i++) count[lengths[i]]++;
    c->longest = 0;
    for (unsigned length = 1; length <= LONGEST; length++) {
        if (count[length]) c->longest = length;
        start[length] = used;
        c->offset[length] = used - (uint32_t)(next >> (32 - length));
        next += (uint64_t)count[length] << (32 - length);
        NEED(next <= (uint64_t)1 << 32);
        c->limit[length] = (uint32_t)next;
        used += (uint32_t)count[length];
        unsigned more = KDC_FAST_BITS - length; /* bits behind the code */
        for (size_t i = 0; length <= KDC_FAST_BITS && i < count[length] << more; i++)
            c->fast[filled++] = (uint16_t)((start[length] + (i >> more)) << 4 | length);
    }
    memset(c->fast + filled, 0, (((size_t)1 << KDC_FAST_BITS) - filled) * sizeof *c->fast);
    for (size_t i = 0; i < symbols; i++)
        if (lengths[i]) c->sorted[start[lengths[i]]++] = (uint16_t)i;
    NEED(next == (uint64_t)1 << 32 || c->longest <= 1); /* All bits mean something. */
    return KDC_OK;
}

static inline unsigned next_symbol(bits *b, const code *c) {
    uint32_t ahead = peek(b);
    unsigned found = c->fast[ahead >> (32 - KDC_FAST_BITS)], length = KDC_FAST_BITS + 1;
    if (found) return skip(b, found & 15), c->sorted[found >> 4];
    while (length < c->longest && ahead >= c->limit[length]) length++;
    if (length > c->longest) return fail(b);
    skip(b, length);
    return c->sorted[(uint32_t)((ahead >> (32 - length)) + c->offset[length])];
}

/* Makes the Huffman code of `together` digits to a base, from the weights of single digits. */
static kdc_status huffman(arena a, code *c, const uint32_t *single, size_t base, unsigned together,
                          unsigned shift, unsigned last_shift) {
    size_t symbols = base, i, leaf = 0, joined;
    uint32_t *w, *keys;
    uint16_t *parents;
    uint8_t *lengths;
    for (i = 1; i < together; i++) symbols *= base;
    TAKE(&a, w, 2 * symbols);
    TAKE(&a, parents, 2 * symbols);
    TAKE(&a, keys, symbols);
    TAKE(&a, lengths, symbols);
    memcpy(w, single, base * sizeof *single);
    for (size_t have = base; have < symbols; have *= base)
        for (i = have * base; i-- > 0;) /* the first ones last, as they are read until then */
            w[i] = (uint32_t)((uint64_t)w[i / base] * single[i % base] >> shift);
    for (i = 0; i < symbols; i++) { /* Weights are at most 2^20, symbols below 2^12. */
        uint32_t weight = w[i] >> last_shift;
        keys[i] = (weight ? weight - 1 : 0) << 12 | (uint32_t)i;
    }
    sort(keys, symbols, NULL);
    for (i = 0; i < symbols; i++) w[i] = (keys[i] >> 12) + 1;
    for (i = joined = symbols; i < 2 * symbols - 1; i++) { /* Joined ones ascend as well. */
        w[i] = 0;
        for (unsigned two = 0; two < 2; two++) {
            int single_one = leaf < symbols && (joined == i || w[leaf] <= w[joined]);
            size_t least = single_one ? leaf++ : joined++;
            w[i] += w[least];
            parents[least] = (uint16_t)i;
        }
    }
    w[2 * symbols - 2] = 0; /* From here on they are depths. */
    for (i = 2 * symbols - 2; i-- > 0;) w[i] = w[parents[i]] + 1;
    NEED(w[0] <= LONGEST);
    for (i = 0; i < symbols; i++) lengths[keys[i] & 4095] = (uint8_t)w[i];
    TRY(make_code(c, lengths, symbols));
    c->together = together; /* Digits of whole bits can be taken apart without dividing. */
    for (c->width = 1; (size_t)1 << c->width < base;) c->width++;
    for (i = 0; i < symbols; i++) {
        unsigned rest = c->sorted[i], packed = 0;
        for (unsigned j = 0; j < together; j++, rest /= (unsigned)base)
            packed |= rest % (unsigned)base << j * c->width;
        c->sorted[i] = (uint16_t)packed;
    }
    return KDC_OK;
}

/* Digits one by one. */
typedef struct { bits at; const code *code; unsigned packed, left; } digits;

static inline unsigned next_digit(digits *d) {
    if (d->left == 0) {
        d->packed = next_symbol(&d->at, d->code);
        d->left = d->code->together;
    }
    d->left--;
    return d->packed >> d->left * d->code->width & ((1u << d->code->width) - 1);
}

static kdc_status end_digits(const digits *d, bits *b) { /* What fills up a symbol is zero. */
    NEED(!over(&d->at) && (d->packed & ((1u << d->left * d->code->width) - 1)) == 0);
    b->place = d->at.place;
    return KDC_OK;
}

/* DEFLATE (RFC 1951). */
static uint32_t low_first(bits *b, unsigned count) {
    uint32_t value = 0;
    for (unsigned i = 0; i < count; i++) value |= number(b, 1) << i;
    return value;
}

static kdc_status read_codes(bits *b, int fixed, code *symbols, code *distances) {
    static const uint8_t order[] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[320] = {0};
    unsigned i = 0, first = 288, all = 320;
    for (; fixed && i < all; i++)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : i < 288 ? 8 : 5;
    if (!fixed) {
        first = 257 + low_first(b, 5);
        all = first + 1 + low_first(b, 5);
        NEED(first <= 286 && all - first <= 30);
        for (unsigned j = 0, n = 4 + low_first(b, 4); j < n; j++)
            lengths[order[j]] = (uint8_t)low_first(b, 3);
        TRY(make_code(distances, lengths, 19));
        NEED(distances->longest != 1 || distances->limit[1] == 0); /* no lone symbol */
    }
    while (i < all) {
        unsigned symbol = next_symbol(b, distances), length = symbol < 16 ? symbol : 0, times = 1;
        NEED(symbol != 16 || i > 0);
        if (symbol == 16) length = lengths[i - 1];
        if (symbol > 15) times = symbol < 18 ? 3 + low_first(b, symbol - 14) : 11 + low_first(b, 7);
        NEED(!over(b) && times <= all - i);
        while (times--) lengths[i++] = (uint8_t)length;
    }
    NEED(lengths[256]); /* Or no block could end. */
    TRY(make_code(symbols, lengths, first));
    return make_code(distances, lengths + first, all - first);
}

static kdc_status inflate(arena a, bits b, uint8_t *out, size_t size) {
    code symbols, distances;
    size_t have = 0, length, distance;
    unsigned header, kind, previous = 0, symbol, extra;
    b.reversed = 1;
    TRY(take_code(&a, &symbols, 288));
    TRY(take_code(&a, &distances, 32));
    do {
        header = low_first(&b, 3);
        kind = header >> 1;
        NEED(!over(&b) && kind < 3);
        if (kind == 0) {
            b.place = (b.place + 7) / 8 * 8;
            length = low_first(&b, 16);
            NEED(low_first(&b, 16) == (length ^ 0xFFFF) && length <= bytes_left(&b));
            NEED(length <= size - have);
            memcpy(out + have, bytes(&b, length), length);
            have += length;
            continue;
        }
        if (kind == 2 || previous != 1) TRY(read_codes(&b, kind == 1, &symbols, &distances));
        previous = kind;
        while ((symbol = next_symbol(&b, &symbols)) != 256) {
            NEED(!over(&b) && symbol < 286 && have < size);
            if (symbol < 256) out[have++] = (uint8_t)symbol;
            if (symbol < 256) continue;
            symbol -= 257;
            extra = symbol < 8 || symbol == 28 ? 0 : symbol / 4 - 1;
            length = symbol == 28 ? 258 : symbol < 8 ? 3 + symbol : ((4 + symbol % 4) << extra) + 3;
            length += low_first(&b, extra);
            symbol = next_symbol(&b, &distances);
            NEED(symbol < 30);
            extra = symbol < 4 ? 0 : symbol / 2 - 1;
            distance = symbol < 4 ? 1 + symbol : ((2 + symbol % 2) << extra) + 1;
            distance += low_first(&b, extra);
            NEED(!over(&b) && length <= size - have && distance <= have + DICTIONARY);
            for (; length > 0; length--, have++)
                out[have] = distance <= have ? out[have - distance]
                    : (uint8_t)(&dictionary[0][0])[DICTIONARY + have - distance];
        }
    } while (header % 2 == 0);
    NEED(have == size && !over(&b) && b.end - b.place < 8);
    return KDC_OK;
}

/* The file. */
static kdc_status read_type(bits *b, kdc_tensor *t, unsigned rank) {
    uint64_t bound;
    NEED(!over(b) && t->type < TYPES && rank <= KDC_RANK && t->name_length - 1 < 65535);
    t->rank = (int)rank;
    t->size = bound = t->item = (size_t)t->type < sizeof sizes ? sizes[t->type] : 1;
    for (unsigned i = 0; i < rank; i++) {
        uint64_t dimension = t->shape[i] = varint(b);
        NEED(dimension == 0 || bound <= INT64_MAX / dimension);
        bound *= dimension ? dimension : 1;
        t->size *= dimension;
    }
    return KDC_OK;
}

static kdc_status read_record(kdc_file *f, bits *b, kdc_tensor *t) {
    uint64_t stored = 0, count, length;
    memset(t, 0, sizeof *t);
    text(b, varint(b), &t->name, &t->name_length);
    t->type = (int)number(b, 8);
    t->coding = number(b, 2);
    TRY(read_type(b, t, number(b, 6)));
    if (t->coding == RAW) {
        NEED(t->size <= f->size);
        stored = t->size + t->size / RAW_BLOCK * 4;
        if (t->size % RAW_BLOCK) stored += sum_bytes(t->size % RAW_BLOCK);
    } else if (t->coding == CODED) {
        count = varint(b);
        NEED(count > 0 && count <= bytes_left(b) && t->type != COMPLEX128);
        t->count = (size_t)count;
        for (t->lengths = *b; count > 0; count--, stored += length + sum_bytes(length)) {
            length = varint(b);
            NEED(length <= f->size && stored <= f->size);
        }
    }
    NEED(!over(b) && t->coding <= CODED && (t->size > 0 || t->coding == 0));
    NEED(stored <= f->size - f->block);
    t->blocks = f->data + f->block;
    f->block += (size_t)stored;
    return KDC_OK;
}

static kdc_status open_1(kdc_file *f, arena *a) {
    const uint8_t *end = f->data + f->size - TRAILER;
    size_t length = (size_t)pattern_at(end, 4);
    uint32_t *places;
    uint8_t *listing;
    kdc_tensor t;
    NEED(length <= f->size - HEAD - TRAILER);
    bits b = bits_of(end - length, length);
    if (crc32(f, b.data, length) != pattern_at(end + 4, 4)) return KDC_CHECKSUM;
    uint64_t size = varint(&b);
    NEED(!over(&b) && size <= 32 * (uint64_t)length + 4096);
    if (size > UINT32_MAX || size > SIZE_MAX / 16) return KDC_TOO_LARGE;
    TAKE(a, listing, size);
    TRY(inflate(*a, bits_of(b.data + b.place / 8, bytes_left(&b)), listing, (size_t)size));
    b = bits_of(listing, (size_t)size);
    uint64_t metadata_size = varint(&b), stored = varint(&b), count = varint(&b);
    NEED(!over(&b) && metadata_size <= 16 << 20 && (metadata_size == 0) == (stored == 0));
    NEED(count <= 65536 && count <= length / 4 + 1024);
    f->metadata_size = (size_t)metadata_size;
    f->tensors = (size_t)count;
    f->records = b;
    TAKE(a, places, count);
    for (size_t i = 0; i < count; i++) {
        places[i] = (uint32_t)(b.place / 8);
        TRY(read_record(f, &b, &t));
    }
    NEED(b.place == b.end && stored <= f->size);
    TRY(all_differ(places, count, listing));
    NEED(f->block + stored + (stored ? sum_bytes(stored) : 0) == f->size - TRAILER - length);
    f->pairs = bits_of(f->data + f->block, (size_t)stored);
    f->block = HEAD;
    return KDC_OK;
}

static kdc_status check_patterns(const kdc_tensor *t, const uint8_t *at, uint64_t count) {
    uint8_t largest = t->type == BOOL ? 1 : t->type < INT4 ? 255 : t->type < INT2 ? 15 : 3;
    for (uint64_t i = 0; largest < 255 && i < count; i++) NEED(at[i] <= largest);
    return KDC_OK;
}

static kdc_status decode_raw(const kdc_file *f, const kdc_tensor *t, uint8_t *out) {
    const uint8_t *at = t->blocks;
    for (uint64_t left = t->size, length; left > 0; left -= length) {
        length = left < RAW_BLOCK ? left : RAW_BLOCK;
        TRY(check_block(f, at, (size_t)length));
        memcpy(out + (t->size - left), at, (size_t)length);
        at += length + sum_bytes(length);
    }
    return check_patterns(t, out, t->size);
}

/* The model of a coded tensor. */
typedef struct {
    code *code;
    digits runs;
    unsigned shift, exchanged;
    size_t remainders, total, given; /* where they are; how many ones there are, were given */
    uint32_t left;                   /* zeros before the next one */
} sequence;

typedef struct {
    const kdc_tensor *t;
    unsigned zero_bits, low_bits, sparse, transposed, clusters, halves;
    unsigned lower; /* How many heads have the top bit clear. */
    uint64_t *codebook; /* patterns in little-endian order */
    size_t rows, columns, row_step, column_step;       /* The steps are in bytes. */
    size_t width, depth, height, steps;                /* Without a grid depth is 0. */
    uint8_t *row_scores, *column_scores;               /* NULL: all are 0. */
    unsigned classes, sign_classes, wide, groups;
    sequence filled[CLASSES + SIGN_CLASSES], *signs; /* `signs` are the last ones. */
    uint8_t group[CLASSES]; /* of each class */
    code *codes[8];         /* for each group and half; NULL for an alphabet of one symbol */
} model;

static kdc_status read_code(arena *a, bits *b, size_t symbols, size_t most, code *c) {
    static const uint32_t quarters[] = {1048576, 881744, 741455, 623487};
    unsigned unit = number(b, 2), together = number(b, 3) + 1, order = number(b, 2);
    size_t all = symbols;
    uint32_t *single;
    int cost = 0;
    for (unsigned i = 1; i < together && all <= MOST_SYMBOLS; i++) all *= symbols;
    NEED(unit <= 2 && all <= MOST_SYMBOLS && (together == 1 || all <= most));
    TRY(take_code(a, c, all));
    arena scratch = *a;
    TAKE(&scratch, single, symbols);
    for (size_t i = 0; i < symbols; i++) {
        uint64_t first = i ? 0 : golomb(b, 3);
        cost += (4 >> unit) * (i ? signed_golomb(b, order) : (int)(first & 127));
        NEED(!over(b) && first <= 80 && cost >= 0 && cost <= 80);
        single[i] = quarters[cost % 4] >> cost / 4;
        if (single[i] == 0) single[i] = 1;
    }
    return huffman(scratch, c, single, symbols, together, 20, 0);
}

static kdc_status run_code(arena *a, sequence *s, unsigned likelihood) {
    static const uint32_t quarters[] = {1073741824, 902905651, 759250125, 638450708};
    uint32_t single[256], left = 1u << 30;
    s->shift = likelihood < 24 ? 0 : (likelihood - 24) / 4;
    unsigned rest = likelihood - 4 * s->shift;
    unsigned together = rest < 2 ? 8 : rest < 6 ? 4 : rest < 15 ? 2 : 1, bound = 1u << 8 / together;
    uint32_t one = quarters[rest % 4] >> (rest / 4 + 1);
    for (unsigned i = 0; i + 1 < bound; i++) {
        single[i] = (uint32_t)((uint64_t)left * one >> 30);
        left = (uint32_t)((uint64_t)left * ((1u << 30) - one) >> 30);
    }
    single[bound - 1] = left;
    TAKE(a, s->code, 1);
    TRY(take_code(a, s->code, 256));
    TRY(huffman(*a, s->code, single, bound, together, 30, 13));
    return KDC_OK;
}

static kdc_status read_likelihoods(arena *a, bits *b, sequence *s, unsigned classes) {
    int likelihood = 0;
    for (unsigned i = 0; i < classes; i++) {
        likelihood += signed_golomb(b, 2);
        NEED(!over(b) && likelihood >= -64 && likelihood <= 63);
        s[i].exchanged = likelihood < 0;
        TRY(run_code(a, &s[i], (unsigned)(likelihood < 0 ? -1 - likelihood : likelihood)));
    }
    return KDC_OK;
}

static kdc_status read_codebook(arena *a, bits *b, model *m) {
    unsigned item_bits = 8 * m->t->item, width = 3;
    uint64_t head = 0;
    while (1u << width < item_bits) width++;
    if (number(b, 1)) {
        m->zero_bits = number(b, width);
        m->low_bits = number(b, width);
        NEED(m->zero_bits + m->low_bits > 0 && m->zero_bits + m->low_bits < item_bits);
    }
    uint64_t most = UINT64_MAX >> (64 - item_bits + m->zero_bits + m->low_bits);
    m->sparse = number(b, 1);
    uint64_t count = golomb(b, 3) + 1;
    NEED(!over(b) && count <= MOST_SYMBOLS);
    m->clusters = (unsigned)count;
    unsigned order = number(b, width);
    TAKE(a, m->codebook, count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step = golomb(b, order), least = i ? head + 1 : 0;
        NEED(!over(b) && (i == 0 || head < most) && step <= most - least);
        head = least + step;
        NEED(head || !m->sparse || m->low_bits);
        put_pattern((uint8_t *)&m->codebook[i], m->t->item, head << m->low_bits << m->zero_bits);
        m->lower += head <= most / 2;
    }
    uint8_t largest = (uint8_t)((((head + 1) << m->low_bits) - 1) << m->zero_bits);
    return check_patterns(m->t, &largest, 1);
}

static kdc_status read_grid(bits *b, model *m) {
    uint64_t width = golomb(b, 3), depth = golomb(b, 3);
    NEED(!over(b) && m->sparse && m->rows <= 1 << 18 && width < m->rows && depth < m->rows);
    m->width = (size_t)width + 1;
    m->depth = (size_t)depth + 1;
    NEED(m->width <= m->rows / m->depth);
    m->height = (m->rows - 1) / (m->width * m->depth) + 1;
    m->steps = 2 * (m->height - 1) + m->width;
    NEED(m->steps <= 512 && m->steps <= m->rows * m->columns / 16);
    return KDC_OK;
}

static kdc_status read_scores(arena *a, bits *b, const model *m, size_t lines, uint8_t **scores,
                              unsigned *any) {
    unsigned highest = number(b, 4);
    code c;
    if (highest == 0) return KDC_OK;
    NEED(lines <= 1 << 20);
    TAKE(a, *scores, lines);
    arena scratch = *a;
    TRY(read_code(&scratch, b, highest + 1, lines, &c));
    digits d = {*b, &c, 0, 0};
    for (size_t i = 0; i < lines; i++) {
        unsigned symbol = next_digit(&d);
        NEED(!over(&d.at) && (m->sparse || symbol > 0));
        (*scores)[i] = symbol ? (uint8_t)(symbol - 1) : DEAD;
        *any |= symbol != 1;
    }
    return end_digits(&d, b);
}

static kdc_status read_model(arena *a, bits *b, const kdc_tensor *t, model *m) {
    size_t elements = (size_t)(t->size / t->item);
    memset(m, 0, sizeof *m);
    m->t = t;
    m->signs = m->filled + CLASSES;
    TRY(read_codebook(a, b, m));
    unsigned lines = number(b, 1), any, groups = 0, cut = 0;
    any = m->transposed = lines && number(b, 1);
    m->columns = t->rank ? (size_t)t->shape[t->rank - 1] : 1;
    if (m->transposed) m->columns = elements / m->columns;
    m->rows = elements / m->columns;
    m->row_step = t->item * (m->transposed ? 1 : m->columns);
    m->column_step = t->item * (m->transposed ? m->rows : 1);
    NEED(m->rows <= BAND && t->count == (m->columns - 1) / (BAND / m->rows) + 1);
    if (lines) {
        if (number(b, 1)) TRY(read_grid(b, m));
        any |= m->depth > 0;
        TRY(read_scores(a, b, m, m->rows, &m->row_scores, &any));
        TRY(read_scores(a, b, m, m->columns, &m->column_scores, &any));
        NEED(any); /* Or `lines` would say nothing. */
    }
    m->classes = !m->sparse ? CLASSES : lines ? number(b, 4) + 1 : 1;
    if (m->sparse) TRY(read_likelihoods(a, b, m->filled, m->classes));
    m->halves = 1;
    if (m->depth && number(b, 1)) {
        m->halves = 2;
        m->wide = number(b, 1);
        m->sign_classes = number(b, 3) + 1;
        TRY(read_likelihoods(a, b, m->signs, m->sign_classes));
        NEED(m->lower > 0 && m->lower < m->clusters);
    }
    if (lines) groups = number(b, 2);
    for (m->groups = 1; m->groups <= groups; m->groups++) {
        unsigned next = number(b, 4);
        NEED(next > cut);
        for (cut = next; next < CLASSES; next++) m->group[next] = (uint8_t)m->groups;
    }
    for (unsigned i = 0; i < m->groups * m->halves; i++) {
        size_t symbols = m->halves == 1 ? m->clusters : i % 2 ? m->clusters - m->lower : m->lower;
        if (symbols == 1) continue;
        TAKE(a, m->codes[i], 1);
        TRY(read_code(a, b, symbols, elements, m->codes[i]));
    }
    NEED(!over(b));
    return KDC_OK;
}

/* Sequences of bits. */
static kdc_status next_one(sequence *s) {
    unsigned bound = (1u << s->code->width) - 1, run;
    uint32_t zeros = 0;
    s->left = UINT32_MAX; /* There is none. */
    if (s->given == s->total) return KDC_OK;
    do {
        zeros += run = next_digit(&s->runs);
        NEED(zeros <= BAND);
    } while (run == bound);
    for (unsigned plane = 0; plane < s->shift; plane++) {
        size_t place = s->remainders + plane * s->total + s->given;
        bits own = {s->runs.at.data, s->runs.at.end, place, 0};
        zeros = zeros << 1 | number(&own, 1);
    }
    NEED(zeros <= BAND);
    s->given++;
    s->left = zeros;
    return KDC_OK;
}

/* Looks where a sequence ends, to read it side by side with others. Without a code it has ones. */
static kdc_status open_sequence(bits *b, sequence *s) {
    s->exchanged |= !s->code;
    s->left = UINT32_MAX;
    if (!s->code) return KDC_OK;
    unsigned bound = (1u << s->code->width) - 1, ones = 1;
    uint64_t count = golomb(b, 6);
    s->runs = (digits){*b, s->code, 0, 0};
    s->total = s->given = 0;
    for (; count > 0 && !over(b); count--, s->total += ones) {
        unsigned symbol = next_symbol(b, s->code), i = s->code->together;
        for (ones = 0; i > 0; i--, symbol >>= s->code->width) ones += (symbol & bound) < bound;
    }
    NEED(ones > 0 && !over(b));
    s->remainders = b->place;
    NEED(s->shift == 0 || s->total <= (b->end - b->place) / s->shift);
    skip(b, s->total * s->shift);
    return next_one(s);
}

static kdc_status next_bit(sequence *s, unsigned *bit) {
    *bit = s->exchanged ^ (s->left == 0);
    return s->left-- ? KDC_OK : next_one(s);
}

/* Bands. A field has a byte for each element, 0 or that of a value; a row of zeros comes after. */
enum { VALUE = 1, UPPER = 2, GROUP = 4, NEIGHBOURS = 6 };
typedef struct { size_t row, step, y, deep; } position;
static const position start = {SIZE_MAX, 0, 0, SIZE_MAX}; /* before the first row */

static inline void put_head(const model *m, uint8_t *out, size_t row, size_t c, unsigned head) {
    uint8_t *to = out + row * m->row_step + c * m->column_step;
    if (m->t->item == 1) memcpy(to, m->codebook + head, 1); /* faster, as it is known how many */
    else if (m->t->item == 4) memcpy(to, m->codebook + head, 4);
    else memcpy(to, m->codebook + head, m->t->item);
}

/* Goes on to the next live row in coding order. */
static int next_row(const model *m, position *p) {
    do {
        if (m->depth && ++p->deep >= m->depth) {
            p->deep = 0;
            p->y++;
            while (2 * p->y > p->step || p->y >= m->height) {
                if (++p->step >= m->steps) return 0;
                p->y = p->step < m->width ? 0 : (p->step - m->width) / 2 + 1;
            }
        }
        if (m->depth) p->row = (p->y * m->width + p->step - 2 * p->y) * m->depth + p->deep;
        else if (++p->row >= m->rows) return 0;
    } while (p->row >= m->rows || (m->row_scores && m->row_scores[p->row] == DEAD));
    return 1;
}

/* Reads where a band has values and of which kind, and the heads of those of the first kind. */
static kdc_status read_places(model *m, bits *b, const uint8_t *scores, size_t width,
                              uint8_t *field, uint8_t *out, size_t *values) {
    /* Neighbours are up and to the left, or to the right; those that do not exist are zero. */
    static const uint8_t up[] = {0, 1, 1, 1, 0, 2}, left[] = {1, 0, 0, 1, 2, 0};
    static const uint8_t weights[2][NEIGHBOURS] = {{2, 2, 1, 0, 0, 0}, {3, 2, 2, 1, 1, 1}};
    uint8_t *filled = field + (m->rows + 1) * width; /* of the neighbours */
    const uint8_t *near[NEIGHBOURS];
    for (unsigned i = 0; i < CLASSES + SIGN_CLASSES; i++) TRY(open_sequence(b, &m->filled[i]));
    digits d = {*b, m->codes[0], 0, 0};
    for (position p = start; next_row(m, &p);) {
        unsigned row_score = m->row_scores ? m->row_scores[p.row] : 0;
        for (unsigned i = 0; m->depth && i < NEIGHBOURS; i++) {
            size_t x = p.step - 2 * p.y, right = i == 2;
            int exists = p.y >= up[i] && x >= left[i] && x + right < m->width;
            size_t back = (up[i] * m->width + left[i] - right) * m->depth;
            near[i] = field + (exists ? p.row - back : m->rows) * width;
        }
        for (size_t c = 0; m->depth && c < width; c += 8) { /* A word has 8 sums that stay small. */
            uint64_t word, sums = 0;
            for (unsigned i = 0; i < NEIGHBOURS; i++) {
                memcpy(&word, near[i] + c, 8);
                sums += weights[1][i] * (word & VALUE * 0x0101010101010101);
            }
            memcpy(filled + c, &sums, 8);
        }
        for (size_t c = 0; c < width; c++) {
            unsigned sum = row_score + filled[c] + scores[c], upper = 0, bit;
            unsigned class = sum < m->classes ? sum : m->classes - 1;
            if (sum >= DEAD) continue;
            TRY(next_bit(&m->filled[class], &bit));
            if (!bit) continue;
            if (m->sign_classes) {
                int votes = 0;
                for (unsigned i = 0; i < NEIGHBOURS; i++)
                    votes += ((near[i][c] & VALUE) - (near[i][c] & UPPER)) * weights[m->wide][i];
                upper = votes < 0;
                unsigned number = (unsigned)(upper ? -votes : votes), most = m->sign_classes - 1;
                TRY(next_bit(&m->signs[number < most ? number : most], &bit));
                upper ^= bit;
            }
            uint8_t *kind = field + p.row * width + c;
            *kind = (uint8_t)(VALUE + UPPER * upper + GROUP * m->group[class]);
            if (*kind == VALUE) put_head(m, out, p.row, c, d.code ? next_digit(&d) : 0);
            ++*values;
        }
        NEED(!over(&d.at));
    }
    for (unsigned i = 0; i < CLASSES + SIGN_CLASSES; i++) /* No one is left over. */
        NEED(m->filled[i].left > BAND);
    return d.code ? end_digits(&d, b) : KDC_OK;
}

/* Reads the low bits of a value: planes of bits, then of bytes. */
static uint64_t low_bits_at(bits planes, unsigned count, size_t values, size_t value) {
    uint64_t low = 0;
    for (unsigned n = 1; count > 0; count -= n, planes.place += n * values) {
        if (count % 8 == 0) n = 8;
        bits own = {planes.data, planes.end, planes.place + n * value, 0};
        low = low << n | number(&own, n);
    }
    return low;
}

static kdc_status read_band(arena a, model *m, bits *b, size_t first, size_t width, uint8_t *out) {
    size_t values = 0, value = 0, kinds = m->groups * m->halves;
    uint8_t *field;
    TAKE(&a, field, (m->rows + 2) * width + 8); /* The last word may go on after the last row. */
    memset(field, 0, (m->rows + 2) * width);
    const uint8_t *scores = m->column_scores ? m->column_scores + first : field + m->rows * width;
    out += first * m->column_step;
    TRY(read_places(m, b, scores, width, field, out, &values));
    for (size_t i = 1; i < kinds + (m->low_bits > 0); i++) { /* heads by kind; low bits of all */
        uint8_t kind = (uint8_t)(VALUE + UPPER * (i % m->halves) + GROUP * (i / m->halves));
        digits d = {*b, i < kinds ? m->codes[i] : NULL, 0, 0};
        if (i == kinds) skip(b, values * m->low_bits);
        for (position p = start; next_row(m, &p);) {
            const uint8_t *row = field + p.row * width, *end = row + width, *at = row;
            for (; i < kinds && at < end; at++) {
                if (*at != kind && !(at = memchr(at, kind, (size_t)(end - at)))) break;
                unsigned head = d.code ? next_digit(&d) : 0;
                put_head(m, out, p.row, (size_t)(at - row), i % m->halves ? m->lower + head : head);
            }
            NEED(!over(&d.at));
            for (size_t c = 0; i == kinds && c < width; c++) {
                uint8_t *to = out + p.row * m->row_step + c * m->column_step;
                if (!row[c]) continue;
                uint64_t pattern = low_bits_at(d.at, m->low_bits, values, value++) << m->zero_bits;
                pattern |= pattern_at(to, m->t->item);
                NEED(!m->sparse || pattern);
                put_pattern(to, m->t->item, pattern);
            }
        }
        if (d.code) TRY(end_digits(&d, b));
    }
    return finish(b);
}

static kdc_status decode_coded(const kdc_file *f, arena a, const kdc_tensor *t, uint8_t *out) {
    bits lengths = t->lengths;
    const uint8_t *at = t->blocks;
    size_t first = 0, last;
    model m;
    for (uint64_t i = 1; i <= t->count; i++, first = last) {
        size_t length = (size_t)varint(&lengths);
        bits b = bits_of(at, length);
        TRY(check_block(f, at, length));
        at += length + sum_bytes(length);
        if (i == 1) TRY(read_model(&a, &b, t, &m));
        last = (size_t)(i * (m.columns / t->count) + i * (m.columns % t->count) / t->count);
        TRY(read_band(a, &m, &b, first, last - first, out));
    }
    return KDC_OK;
}

#include "kdc_v0.h"

/* What kdc.h declares. */
kdc_status kdc_open(kdc_file *f, const void *data, size_t size, void *work, size_t work_size) {
    arena a = {work, work_size, 0, &f->need};
    *f = (kdc_file){.data = data, .size = size, .block = HEAD};
    if (size == 0 || memcmp(data, "\x89KDC", size < 4 ? size : 4) != 0) return KDC_NOT_KDC;
    if (size > 4 && f->data[4] > 1) return KDC_VERSION;
    if (size < HEAD + 7 || (f->data[4] && size < HEAD + TRAILER)) return KDC_CHECKSUM;
    if (size > SIZE_MAX / 16) return KDC_TOO_LARGE;
    f->version = f->data[4];
    for (uint32_t i = 0, c; i < 1024; i++) { /* of a byte, and of one before one to three zeros */
        c = i < 256 ? i : f->crc[i - 256];
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xEDB88320 : 0);
        f->crc[i] = c;
    }
    if (crc32(f, f->data, size - 4) != pattern_at(f->data + size - 4, 4)) return KDC_CHECKSUM;
    kdc_status status = f->version ? open_1(f, &a) : open_0(f, a);
    f->left = status == KDC_OK ? f->tensors : 0;
    return status;
}

kdc_status kdc_next(kdc_file *f, kdc_tensor *t) {
    if (f->left == 0) return KDC_END;
    f->left--;
    return f->version ? read_record(f, &f->records, t) : read_record_0(&f->records, t, 0);
}

kdc_status kdc_decode(kdc_file *f, const kdc_tensor *t, void *out, size_t out_size, void *work,
                      size_t work_size) {
    arena a = {work, work_size, f->need = 0, &f->need};
    kdc_status status = KDC_OK;
    if (out_size < t->size) return KDC_OUT_SIZE;
    if (t->size) memset(out, 0, (size_t)t->size);
    if (f->version == 0) status = decode_0(a, t, out);
    else if (t->coding == RAW) status = decode_raw(f, t, out);
    else if (t->coding == CODED) status = decode_coded(f, a, t, out);
    if (status != KDC_OK && t->size) memset(out, 0, (size_t)t->size);
    return status;
}

static kdc_status check_pairs(const kdc_file *f, arena a, const uint8_t *pairs) {
    bits b = bits_of(pairs, f->metadata_size);
    uint64_t count = varint(&b);
    uint32_t *places;
    kdc_pair pair;
    NEED(count > 0 && count <= bytes_left(&b) && (count <= 65536 || f->version == 0));
    TAKE(&a, places, count);
    size_t place = b.place / 8;
    for (uint64_t i = 0; i < count; i++) {
        places[i] = (uint32_t)place;
        NEED(kdc_next_pair(f, pairs, &place, &pair) == KDC_OK);
    }
    NEED(place == f->metadata_size);
    return all_differ(places, count, pairs);
}

kdc_status kdc_metadata(kdc_file *f, void *out, size_t out_size, void *work, size_t work_size) {
    arena a = {work, work_size, f->need = 0, &f->need};
    if (f->metadata_size == 0) return KDC_OK;
    if (out_size < f->metadata_size) return KDC_OUT_SIZE;
    kdc_status status =
        f->version ? check_block(f, f->pairs.data, f->pairs.end / 8) : join_pairs(f, a, out);
    if (status == KDC_OK && f->version) status = inflate(a, f->pairs, out, f->metadata_size);
    if (status == KDC_OK) status = check_pairs(f, a, out);
    if (status != KDC_OK) memset(out, 0, f->metadata_size);
    return status;
}

kdc_status kdc_next_pair(const kdc_file *f, const void *metadata, size_t *place, kdc_pair *pair) {
    bits b = bits_of(metadata, f->metadata_size);
    if (*place == 0 && f->metadata_size) varint(&b); /* how many there are */
    else b.place = 8 * *place;
    if (b.place == b.end) return KDC_END;
    text(&b, varint(&b), &pair->key, &pair->key_length);
    text(&b, varint(&b), &pair->text, &pair->text_length);
    *place = b.place / 8;
    return !over(&b) && pair->key_length - 1 < 65535 ? KDC_OK : KDC_DAMAGED;
}

const char *kdc_type_name(int type) { return type >= 0 && type < TYPES ? names[type] : "?"; }
