/* kdc-unpack: reads a .kdc file, says what is in it, and writes each tensor for numpy.
 *
 *     kdc-unpack FILE [FOLDER]
 *
 * writes tensor n to FOLDER/n.npy; one of a type that numpy does not have, such as bfloat16 or int4,
 * to FOLDER/n.bin, its elements alone. Names may say anything, so no file is called by one.
 *
 * It shows a receiver of models as well. On a device, the file would lie in flash, the memory to
 * work in would be an array as large as the models need, and `out` would be where the network
 * expects its weights. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kdc.h"

static void *more(void *old, size_t size) {
    void *made = realloc(old, size + !size);
    if (!made) {
        fprintf(stderr, "There is no memory of %zu bytes.\n", size);
        exit(1);
    }
    return made;
}

static void check(kdc_status status) {
    static const char *const messages[] = {
        [KDC_NOT_KDC] = "this is not a .kdc file",
        [KDC_VERSION] = "it is of a version of the format that this decoder does not know",
        [KDC_CHECKSUM] = "a checksum is wrong: bytes were changed, added or cut off",
        [KDC_DAMAGED] = "it breaks a rule of the format",
        [KDC_NEED_MEMORY] = "there is not enough memory to work in",
        [KDC_OUT_SIZE] = "there is not enough memory for the result",
        [KDC_TOO_LARGE] = "it is too large for this machine",
    };
    if (status == KDC_OK || status == KDC_END) return;
    fprintf(stderr, "The file is refused: %s.\n", messages[status]);
    exit(1);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t count;
    if (!file) {
        perror(path);
        exit(1);
    }
    *size = 0;
    do {
        data = more(data, *size + 65536);
        *size += count = fread(data + *size, 1, 65536, file);
    } while (count);
    fclose(file);
    return data;
}

/* Prints a name or a text such that it cannot move the cursor or look like another. */
static void print_text(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte >= ' ' && byte <= '~' && byte != '\\')
            putchar(byte);
        else
            printf("\\x%02x", byte);
    }
}

/* Writes what an .npy file of version 1.0 begins with, to a multiple of 64 bytes. */
static void write_npy_header(FILE *file, const char *type, const kdc_tensor *tensor) {
    char text[1024] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
    size_t length = 10, end;
    length += (size_t)sprintf(text + length, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                              type);
    for (int axis = 0; axis < tensor->rank; axis++)
        length += (size_t)sprintf(text + length, "%" PRIu64 ",", tensor->shape[axis]);
    length += (size_t)sprintf(text + length, ")}");
    end = (length + 64) / 64 * 64;
    memset(text + length, ' ', end - length - 1);
    text[end - 1] = '\n';
    text[8] = (char)((end - 10) & 255);
    text[9] = (char)((end - 10) >> 8);
    fwrite(text, 1, end, file);
}

static void write_tensor(const char *folder, size_t number, const kdc_tensor *tensor,
                         const uint8_t *data) {
    /* In the order of the format's types. */
    static const char *const types[] = {"|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2",
                                        "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"};
    int known = (size_t)tensor->type < sizeof types / sizeof *types;
    char path[4096];
    snprintf(path, sizeof path, "%s/%zu.%s", folder, number, known ? "npy" : "bin");
    FILE *file = fopen(path, "wb");
    if (file && known) write_npy_header(file, types[tensor->type], tensor);
    if (!file || fwrite(data, 1, (size_t)tensor->size, file) != tensor->size || fclose(file)) {
        perror(path);
        exit(1);
    }
}

int main(int count, char **arguments) {
    kdc_file file;
    kdc_tensor tensor;
    kdc_pair pair;
    kdc_status status;
    size_t size, listing_size = 0, work_size = 0, place = 0, most = 0;
    uint8_t *listing = NULL, *work = NULL, *out = NULL;
    if (count < 2) {
        fprintf(stderr, "usage: %s FILE [FOLDER]\n", arguments[0]);
        return 1;
    }
    uint8_t *data = read_file(arguments[1], &size);

    while ((status = kdc_open(&file, data, size, listing, listing_size)) == KDC_NEED_MEMORY)
        listing = more(listing, listing_size = file.need);
    check(status);

    out = more(out, file.metadata_size);
    while ((status = kdc_metadata(&file, out, file.metadata_size, work, work_size)) ==
           KDC_NEED_MEMORY)
        work = more(work, work_size = file.need);
    check(status);
    while ((status = kdc_next_pair(&file, out, &place, &pair)) == KDC_OK) {
        print_text(pair.key, pair.key_length);
        printf(": ");
        print_text(pair.text, pair.text_length);
        printf("\n");
    }
    check(status);

    for (size_t i = 0; (status = kdc_next(&file, &tensor)) == KDC_OK; i++) {
        if (tensor.size > SIZE_MAX) check(KDC_TOO_LARGE);
        out = more(out, (size_t)tensor.size);
        while ((status = kdc_decode(&file, &tensor, out, (size_t)tensor.size, work, work_size)) ==
               KDC_NEED_MEMORY)
            work = more(work, work_size = file.need);
        check(status);
        if (file.need > most) most = file.need;
        print_text(tensor.name, tensor.name_length);
        printf(" %s ", kdc_type_name(tensor.type));
        for (int axis = 0; axis < tensor.rank; axis++)
            printf("%s%" PRIu64, axis ? "x" : "", tensor.shape[axis]);
        printf("\n");
        if (count > 2) write_tensor(arguments[2], i, &tensor, out);
    }
    check(status);
    printf("work memory: %zu bytes to open, %zu to decode\n", listing_size, most);
    free(data);
    free(listing);
    free(work);
    free(out);
    return 0;
}
