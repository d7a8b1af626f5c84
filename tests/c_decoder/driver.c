/* Decodes files from the standard input, each after its length, and says what is in each.
 *
 * For each file a byte comes out, a kdc_status, or 255 if it holds more than the first argument
 * says; and if it is 0, the metadata as kdc_metadata writes it, the number of tensors, and of each
 * its name, type, rank, shape and bytes. Numbers have 8 bytes; what has no fixed length comes after
 * it. Results and work memory have exactly the size that is needed, so that a sanitizer sees each
 * byte too many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kdc.h"

typedef struct {
    unsigned char *data;
    size_t size, room;
} buffer;

static void add(buffer *b, const void *data, size_t size) {
    if (b->room - b->size < size) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
        if (!b->data) abort();
    }
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void add_number(buffer *b, uint64_t value) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(value >> 8 * i);
    add(b, bytes, 8);
}

static void add_bytes(buffer *b, const void *data, size_t size) {
    add_number(b, size);
    add(b, data, size);
}

static void *make(void *old, size_t size) {
    free(old);
    void *made = malloc(size ? size : 1);
    if (!made) abort();
    return made;
}

static unsigned char plenty[8 << 20];

/* Calls something with much memory to work in, then with a byte less than it needed, and with as
 * much. */
#define WITH_WORK(call)                                   \
    do {                                                  \
        size_t size = sizeof plenty;                      \
        work = plenty;                                    \
        status = (call);                                  \
        work = make(NULL, size = file.need);              \
        if (size-- && status == KDC_OK && (call) == KDC_OK) abort();                           \
        size++;                                           \
        if ((call) != status) abort();                    \
        if (listing) free(work); /* That of the first call has to stay. */                     \
    } while (0)

static int decode(const void *data, size_t length, uint64_t most, buffer *found) {
    kdc_file file;
    kdc_tensor tensor;
    kdc_status status;
    void *listing = NULL, *work = NULL, *out = NULL;
    uint64_t total;
    WITH_WORK(kdc_open(&file, data, length, work, size));
    listing = work; /* It has to stay. */
    total = file.metadata_size;
    if (status == KDC_OK) {
        kdc_file copy = file;
        while (kdc_next(&copy, &tensor) == KDC_OK && total <= most) {
            if (tensor.size > most) total = most;
            total += tensor.size;
        }
        if (total > most) status = (kdc_status)255;
    }
    if (status == KDC_OK) {
        out = make(out, file.metadata_size);
        WITH_WORK(kdc_metadata(&file, out, file.metadata_size, work, size));
        add_bytes(found, out, file.metadata_size);
        add_number(found, file.tensors);
    }
    while (status == KDC_OK && (status = kdc_next(&file, &tensor)) == KDC_OK) {
        out = make(out, (size_t)tensor.size);
        WITH_WORK(kdc_decode(&file, &tensor, out, (size_t)tensor.size, work, size));
        add_bytes(found, tensor.name, tensor.name_length);
        add_number(found, (uint64_t)tensor.type);
        add_number(found, (uint64_t)tensor.rank);
        for (int i = 0; i < tensor.rank; i++) add_number(found, tensor.shape[i]);
        add_bytes(found, out, (size_t)tensor.size);
    }
    free(listing);
    free(out);
    return status == KDC_END ? KDC_OK : (int)status;
}

int main(int count, char **arguments) {
    unsigned char head[8];
    uint64_t most = count > 1 ? strtoull(arguments[1], NULL, 10) : UINT64_MAX;
    while (fread(head, 1, 8, stdin) == 8) {
        size_t length = 0;
        buffer found = {0};
        for (int i = 8; i-- > 0;) length = length << 8 | head[i];
        unsigned char *data = make(NULL, length); /* No byte more: one read past it is seen. */
        if (fread(data, 1, length, stdin) != length) return 1;
        int status = decode(data, length, most, &found);
        putchar(status);
        if (status == KDC_OK) fwrite(found.data, 1, found.size, stdout);
        free(found.data);
        free(data);
    }
    return 0;
}
