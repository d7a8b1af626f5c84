/* Reads `.kdc` files, tensor by tensor, and never allocates memory.
 *
 * A file lies in memory as a whole, in RAM or in flash. Memory to work in comes from the caller, at
 * a multiple of 8: that of kdc_open has to stay as it is while the file is read, that of other
 * calls is free again when they return. If it is too small, a call returns KDC_NEED_MEMORY, and
 * `need` says how much to try next; KDC_WORK_MOST is enough for kdc_decode of any tensor. A file
 * that is damaged or hostile makes no function touch other memory, go on for ever, or give a wrong
 * tensor. Files of version 0, which are no longer written, are read if KDC_V0 is defined. */
#ifndef KDC_H
#define KDC_H

#include <stddef.h>
#include <stdint.h>

#ifndef KDC_FAST_BITS
#define KDC_FAST_BITS 10 /* Up to 12. A code takes 2^(n + 1) bytes; longer codes are slower. */
#endif
#define KDC_RANK 32 /* the most dimensions */
#define KDC_WORK_MOST ((size_t)5 << 20)

typedef enum {
    KDC_OK,
    KDC_END,         /* There is no other tensor, or pair. */
    KDC_NOT_KDC,     /* It is no .kdc file. */
    KDC_VERSION,     /* It is of another version of the format. */
    KDC_CHECKSUM,    /* A checksum is wrong: bytes were changed, added or cut off. */
    KDC_DAMAGED,     /* A rule of the format is broken. */
    KDC_NEED_MEMORY, /* The memory to work in is too small. */
    KDC_OUT_SIZE,    /* The memory for the result is too small. */
    KDC_TOO_LARGE    /* Addresses of this machine cannot count the file's bits. */
} kdc_status;

typedef struct { const uint8_t *data; size_t end, place; int reversed; } kdc_bits; /* internal */

typedef struct {
    int version;
    size_t tensors;       /* How many there are. */
    size_t metadata_size; /* Bytes that kdc_metadata writes; 0: there is none. */
    size_t need;          /* Bytes to work in that the last call needed, or has to have. */
    const uint8_t *data;  /* From here on for the decoder alone. */
    size_t size, block, pair_count, left;
    kdc_bits records, pairs;
    uint32_t crc[1024];
} kdc_file;

typedef struct {
    const char *name; /* UTF-8, without a zero at the end. */
    size_t name_length;
    int type, rank;
    uint64_t shape[KDC_RANK];
    uint64_t size;   /* Bytes when decoded. */
    unsigned item;   /* Bytes of an element. */
    unsigned coding; /* From here on for the decoder alone. */
    const uint8_t *blocks;
    size_t count;
    kdc_bits lengths;
} kdc_tensor;

typedef struct {
    const char *key, *text; /* as a tensor's name */
    size_t key_length, text_length;
} kdc_pair;

/* Opens a file, checking the checksum of all its bytes and what it says outside of its blocks. */
kdc_status kdc_open(kdc_file *file, const void *data, size_t size, void *work, size_t work_size);

kdc_status kdc_next(kdc_file *file, kdc_tensor *tensor); /* Gives the next tensor, or KDC_END. */

/* Decodes a tensor into tensor->size bytes: the elements in C order, little-endian. They are zero
 * after an error. */
kdc_status kdc_decode(kdc_file *file, const kdc_tensor *tensor, void *out, size_t out_size,
                      void *work, size_t work_size);

/* Decodes the metadata into file->metadata_size bytes. */
kdc_status kdc_metadata(kdc_file *file, void *out, size_t out_size, void *work, size_t work_size);

/* Gives the next pair of what kdc_metadata wrote, or KDC_END. `place` is 0 before the first. */
kdc_status kdc_next_pair(const kdc_file *file, const void *metadata, size_t *place, kdc_pair *pair);

const char *kdc_type_name(int type); /* such as "float32" */

#endif
