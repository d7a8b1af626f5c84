/* Decodes a whole file, tensor by tensor, for benchmarks/c_decoder.py. */
#include "kdc.h"

/* Returns a kdc_status; `needs` are the bytes that opening and decoding took to work in. */
int decode_all(const void *data, size_t size, void *out, size_t out_size, void *listing,
               size_t listing_size, void *work, size_t work_size, size_t needs[2]) {
    kdc_file file;
    kdc_tensor tensor;
    kdc_status status = kdc_open(&file, data, size, listing, listing_size);
    needs[0] = file.need;
    needs[1] = 0;
    while (status == KDC_OK && (status = kdc_next(&file, &tensor)) == KDC_OK) {
        status = kdc_decode(&file, &tensor, out, out_size, work, work_size);
        if (file.need > needs[1]) needs[1] = file.need;
    }
    return status == KDC_END ? KDC_OK : (int)status;
}

size_t file_size(void) { return sizeof(kdc_file); }
size_t tensor_size(void) { return sizeof(kdc_tensor); }
