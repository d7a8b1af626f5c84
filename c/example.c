/* A receiver of models: reads a .kdc file, says what is in it, and writes each tensor's bytes.
 *
 *     example FILE [FOLDER]
 *
 * writes tensor n to FOLDER/n.bin. On a device, the file would lie in flash, the memory to work in
 * would be an array as large as the models need, and `out` would be where the network expects its
 * weights. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

static void write_file(const char *folder, size_t number, const uint8_t *data, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%zu.bin", folder, number);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
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
    while ((status = kdc_next_pair(&file, out, &place, &pair)) == KDC_OK)
        printf("%.*s: %.*s\n", (int)pair.key_length, pair.key, (int)pair.text_length, pair.text);
    check(status);

    for (size_t i = 0; (status = kdc_next(&file, &tensor)) == KDC_OK; i++) {
        if (tensor.size > SIZE_MAX) check(KDC_TOO_LARGE);
        out = more(out, (size_t)tensor.size);
        while ((status = kdc_decode(&file, &tensor, out, (size_t)tensor.size, work, work_size)) ==
               KDC_NEED_MEMORY)
            work = more(work, work_size = file.need);
        check(status);
        if (file.need > most) most = file.need;
        printf("%.*s %s ", (int)tensor.name_length, tensor.name, kdc_type_name(tensor.type));
        for (int axis = 0; axis < tensor.rank; axis++)
            printf("%s%" PRIu64, axis ? "x" : "", tensor.shape[axis]);
        printf("\n");
        if (count > 2) write_file(arguments[2], i, out, (size_t)tensor.size);
    }
    check(status);
    printf("work memory: %zu bytes to open, %zu to decode\n", listing_size, most);
    free(data);
    free(listing);
    free(work);
    free(out);
    return 0;
}
