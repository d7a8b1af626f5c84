/* Version 0 of the format, docs/format-v0.md, if KDC_V0 is defined. A part of kdc.c. */
#ifndef KDC_V0
#define open_0(f, a) KDC_VERSION
#define read_record_0(b, t, is_pair) KDC_VERSION
#define decode_0(a, t, out) KDC_VERSION
#define join_pairs(f, a, out) KDC_VERSION
#else

enum { RAW_0 = 4, CODED_0 = 5 }; /* codings, unlike those of version 1 */

static size_t put_varint(uint8_t *at, uint64_t value) {
    size_t length = 0;
    for (; value > 127; value >>= 7) at[length++] = (uint8_t)(value | 128);
    at[length++] = (uint8_t)value;
    return length;
}

/* Reads the record of a tensor or of metadata, whose values are vectors of bytes. */
static kdc_status read_record_0(bits *b, kdc_tensor *t, int is_pair) {
    memset(t, 0, sizeof *t);
    text(b, varint(b), &t->name, &t->name_length);
    t->type = is_pair ? UINT8 : (int)number(b, 8);
    TRY(read_type(b, t, is_pair ? 1 : number(b, 8)));
    t->coding = number(b, 8) + RAW_0;
    uint64_t length = varint(b);
    t->blocks = bytes(b, length);
    NEED(!over(b) && t->coding <= CODED_0 && (t->coding == RAW_0 || t->type != COMPLEX128));
    t->count = (size_t)length;
    return KDC_OK;
}

static kdc_status open_0(kdc_file *f, arena a) {
    bits b = bits_of(f->data, f->size - 4);
    uint8_t head[10];
    if (f->size > UINT32_MAX) return KDC_TOO_LARGE;
    b.place = 8 * HEAD;
    uint64_t declared = varint(&b), total = 0;
    for (int is_pair = 1; is_pair >= 0; is_pair--) {
        uint64_t count = varint(&b);
        arena scratch = a;
        uint32_t *places;
        kdc_tensor t;
        NEED(count <= bytes_left(&b));
        TAKE(&scratch, places, count);
        *(is_pair ? &f->pairs : &f->records) = b;
        *(is_pair ? &f->pair_count : &f->tensors) = (size_t)count;
        if (is_pair && count) f->metadata_size = put_varint(head, count);
        for (uint64_t i = 0; i < count; i++, total += t.size) {
            places[i] = (uint32_t)(b.place / 8);
            TRY(read_record_0(&b, &t, is_pair));
            NEED(t.size <= INT64_MAX - total && (!is_pair || total + t.size <= 64 << 20));
            if (is_pair)
                f->metadata_size += put_varint(head, t.name_length) + t.name_length +
                    put_varint(head, t.size) + (size_t)t.size;
        }
        TRY(all_differ(places, count, f->data));
    }
    NEED(b.place == b.end && total == declared);
    return KDC_OK;
}

static kdc_status read_lengths(arena *a, bits *b, uint64_t symbols, code *c, int gaps,
                               int fillers) {
    uint64_t stored = (5 * symbols + 7) / 8;
    bits own = bits_of(bytes(b, stored), (size_t)stored);
    uint8_t *lengths;
    NEED(!over(b));
    TRY(take_code(a, c, (size_t)symbols));
    arena scratch = *a;
    TAKE(&scratch, lengths, symbols);
    for (uint64_t i = 0; i < symbols; i++) {
        lengths[i] = (uint8_t)number(&own, 5);
        NEED(lengths[i] <= 24 && (gaps || (lengths[i] > 0) == (i > 0 || fillers)));
    }
    NEED(lengths[symbols - 1]);
    TRY(finish(&own));
    return make_code(c, lengths, (size_t)symbols);
}

static kdc_status read_stream(bits *b, uint64_t length, bits *stream) {
    size_t begin = b->place;
    bytes(b, length / 8 + (length % 8 > 0));
    NEED(!over(b));
    *stream = (bits){b->data, b->place, begin + (size_t)length, 0};
    TRY(finish(stream));
    *stream = (bits){b->data, begin + (size_t)length, begin, 0};
    return KDC_OK;
}

static kdc_status decode_0(arena a, const kdc_tensor *t, uint8_t *out) {
    bits b = bits_of(t->blocks, t->count), gaps = {0}, indices;
    unsigned item = t->item, symbol = 0, gap = 0;
    uint64_t place = 0, size = t->size / item, last = 0, pattern;
    code gap_code, index_code;
    if (t->coding == RAW_0) {
        NEED(t->count == t->size);
        if (t->size) memcpy(out, t->blocks, t->count);
        return check_patterns(t, out, t->size);
    }
    unsigned bound = number(&b, 8);
    uint64_t nonzero = varint(&b), fillers = varint(&b), entries = nonzero + fillers;
    NEED(!over(&b) && bound <= 15);
    if (nonzero == 0) {
        NEED(bound == 0 && fillers == 0 && b.place == b.end);
        return KDC_OK;
    }
    uint64_t k = varint(&b);
    NEED(!over(&b) && k >= 1 && k <= 65535 && k <= nonzero);
    const uint8_t *codebook = bytes(&b, k * item);
    NEED(!over(&b));
    for (uint64_t i = 0; i < k; i++, last = pattern)
        NEED((pattern = pattern_at(codebook + i * item, item)) > last);
    TRY(check_patterns(t, codebook, k));
    if (bound) {
        uint64_t n = varint(&b);
        NEED(n >= 1 && n <= 1u << bound);
        TRY(read_lengths(&a, &b, n, &gap_code, 1, 0));
    }
    TRY(read_lengths(&a, &b, k + 1, &index_code, 0, fillers > 0));
    uint64_t gaps_length = bound ? varint(&b) : 0, indices_length = varint(&b);
    TRY(read_stream(&b, gaps_length, &gaps));
    TRY(read_stream(&b, indices_length, &indices));
    NEED(b.place == b.end);
    for (; entries > 0; entries--, place++) {
        if (bound) gap = next_symbol(&gaps, &gap_code);
        symbol = next_symbol(&indices, &index_code);
        NEED(!over(&gaps) && !over(&indices) && gap < size - place);
        place += gap;
        if (symbol) memcpy(out + place * item, codebook + (symbol - 1) * item, item);
        else NEED(gap == (1u << bound) - 1 && fillers-- > 0);
    }
    NEED(symbol && fillers == 0 && gaps.place == gaps.end && indices.place == indices.end);
    return KDC_OK;
}

/* Writes the metadata as it is in version 1. */
static kdc_status join_pairs(kdc_file *f, arena a, uint8_t *out) {
    bits b = f->pairs;
    out += put_varint(out, f->pair_count);
    for (size_t i = 0; i < f->pair_count; i++) {
        kdc_tensor t;
        TRY(read_record_0(&b, &t, 1));
        out += put_varint(out, t.name_length);
        memcpy(out, t.name, t.name_length);
        out += t.name_length;
        out += put_varint(out, t.size);
        if (t.size) memset(out, 0, (size_t)t.size);
        TRY(decode_0(a, &t, out));
        out += t.size;
    }
    return KDC_OK;
}
#endif
