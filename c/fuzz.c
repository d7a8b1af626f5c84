/* A harness for libFuzzer: opens a file, with its checksums mended, and decodes all of it.
 *
 * An input is a file, or a zero byte, the length of a listing in two bytes, the listing, and what
 * comes between the version and the directory; of that it makes a file of version 1. So changes
 * reach the listing, which is compressed in most files. tests/fuzz/c_corpus.py makes both forms.
 *
 * Memory is as scarce as it can be, so that AddressSanitizer sees each byte too many. With more the
 * outcome has to be the same, and after an error results have to be zero. */
#include <stdlib.h>
#include <string.h>

#include "kdc.h"

enum { MOST_BYTES = 1 << 18 }; /* Larger tensors are left out, to be fast. */

static uint32_t crc32(const uint8_t *at, size_t size) {
    static uint32_t table[256];
    uint32_t crc = 0xFFFFFFFF;
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1) * 0xEDB88320;
    }
    while (size--) crc = crc >> 8 ^ table[(crc ^ *at++) & 255];
    return ~crc;
}

static void seal(uint8_t *at, uint32_t crc, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(crc >> 8 * i);
}

/* Mends the checksums of the directory and the file, or few changes would get past them. Those of
 * blocks are mended where kdc_decode finds them wrong. */
static void mend(uint8_t *data, size_t size) {
    if (size > 17 && data[4] == 1) {
        uint8_t *end = data + size - 12;
        size_t length = end[0] | (size_t)end[1] << 8 | (size_t)end[2] << 16 | (size_t)end[3] << 24;
        if (length <= size - 17) seal(end + 4, crc32(end - length, length), 4);
    }
    if (size > 4) seal(data + size - 4, crc32(data, size - 4), 4);
}

/* Makes a file of a listing and its blocks; the listing becomes a stored DEFLATE block. */
static size_t assemble(const uint8_t *input, size_t size, uint8_t *file) {
    size_t length = input[1] | (size_t)input[2] << 8, at = 5, directory;
    if (length > size - 3) length = size - 3;
    memcpy(file, "\x89KDC\1", 5);
    memcpy(file + at, input + 3 + length, size - 3 - length);
    directory = at += size - 3 - length;
    for (size_t rest = length; (file[at++] = (uint8_t)(rest > 127 ? rest | 128 : rest)) > 127;)
        rest >>= 7;
    file[at++] = 1;
    seal(file + at, (uint32_t)(length | (length ^ 0xFFFF) << 16), 4);
    memcpy(file + at + 4, input + 3, length);
    at += 4 + length;
    seal(file + at, (uint32_t)(at - directory), 4);
    return at + 12;
}

/* Memory of exactly so many bytes. */
static void *make(void *old, size_t size) {
    free(old);
    void *made = malloc(size + !size);
    if (!made) abort();
    return made;
}

static int all_zero(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i]) return 0;
    return 1;
}

static uint8_t plenty[KDC_WORK_MOST];

/* Decodes with plenty of memory, and then with as little as is said to be needed. */
static void decode(kdc_file *file, const kdc_tensor *tensor) {
    size_t size = (size_t)tensor->size, need;
    uint8_t *out = make(NULL, size), *again = make(NULL, size), *work;
    if (size && kdc_decode(file, tensor, out, size - 1, plenty, 0) != KDC_OUT_SIZE) abort();
    kdc_status status = kdc_decode(file, tensor, out, size, plenty, sizeof plenty);
    if (status == KDC_NEED_MEMORY || (status != KDC_OK && !all_zero(out, size))) abort();
    work = make(NULL, need = file->need);
    memset(again, 0xA5, size);
    if (kdc_decode(file, tensor, again, size, work, need) != status) abort();
    if (memcmp(out, again, size) != 0) abort();
    if (need && size % 32 == 0 && /* seldom, as it takes time */
        kdc_decode(file, tensor, again, size, work, need - 1) == KDC_OK)
        abort();
    free(out);
    free(again);
    free(work);
}

/* Makes the sums of a tensor's blocks right, as far as they are in the file. */
static void mend_blocks(uint8_t *data, const kdc_tensor *tensor) {
    kdc_bits lengths = tensor->lengths;
    uint8_t *at = data + (tensor->blocks - data);
    for (size_t i = 0; tensor->coding == 2 && i < tensor->count; i++) {
        uint64_t length = 0;
        for (unsigned shift = 0, byte = 128; byte & 128; shift += 7, lengths.place += 8) {
            byte = lengths.data[lengths.place / 8];
            length |= (uint64_t)(byte & 127) << shift;
        }
        seal(at + length, crc32(at, (size_t)length), length < 4096 ? 2 : 4);
        at += length + (length < 4096 ? 2 : 4);
    }
    if (tensor->coding == 1 && tensor->size < 4 << 20)
        seal(at + tensor->size, crc32(at, (size_t)tensor->size), tensor->size < 4096 ? 2 : 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    kdc_file file;
    kdc_tensor tensor;
    kdc_pair pair;
    kdc_status status;
    size_t listing_size = 0, place = 0;
    uint8_t *data = make(NULL, size + 32), *listing = make(NULL, 0), *text, *work;
    if (size >= 3 && input[0] == 0) {
        size = assemble(input, size, data);
    } else if (size) {
        memcpy(data, input, size);
    }
    if (size % 8) mend(data, size); /* An eighth of the files is left as it is. */
    data = realloc(data, size + !size);
    if (!data) abort();
    while ((status = kdc_open(&file, data, size, listing, listing_size)) == KDC_NEED_MEMORY) {
        if (file.need <= listing_size) abort();
        listing = make(listing, listing_size = file.need);
    }
    if (status == KDC_OK && file.metadata_size <= MOST_BYTES) {
        text = make(NULL, file.metadata_size);
        kdc_metadata(&file, text, file.metadata_size, plenty, sizeof plenty);
        work = make(NULL, file.need);
        status = kdc_metadata(&file, text, file.metadata_size, work, file.need);
        if (status == KDC_NEED_MEMORY) abort();
        while (status == KDC_OK) status = kdc_next_pair(&file, text, &place, &pair);
        if (file.metadata_size && status == KDC_END && place != file.metadata_size) abort();
        free(text);
        free(work);
    }
    for (uint64_t total = 0; kdc_next(&file, &tensor) == KDC_OK; total += tensor.size) {
        if (tensor.size > MOST_BYTES || total > MOST_BYTES) break;
        if (file.version == 1) mend_blocks(data, &tensor);
        decode(&file, &tensor);
    }
    free(data);
    free(listing);
    return 0;
}
