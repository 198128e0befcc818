/* te_kernels_layout.h - kernels that only move elements. x8, x16, x32: of 1, 2 and 4 bytes. */
#ifndef TE_KERNELS_LAYOUT_H
#define TE_KERNELS_LAYOUT_H

#include <stdint.h>

/* A block of three nested rows of runs; run, offset and steps in bytes. */
typedef struct te_block {
    int32_t count[3];
    int32_t run;
    int32_t from, from_step[3];
    int32_t to, to_step[3];
} te_block;

/* Copies a block: crop, concatenation, the inside of a padded tensor. */
void te_copy_block(const te_block *p, const void *x, void *y);

/* y[i] = value */
void te_fill_s8(int32_t count, int32_t value, int8_t *y);

/* y is written in order; x advances by step[i] elements along dimension i of y. */
typedef struct te_transpose {
    int32_t count[4];
    int32_t step[4];
} te_transpose;

void te_transpose_x8(const te_transpose *p, const void *x, void *y);
void te_transpose_x16(const te_transpose *p, const void *x, void *y);
void te_transpose_x32(const te_transpose *p, const void *x, void *y);

/* y[row][i] = x[row][channels[i]]; x has in_c channels, y has out_c. */
void te_gather_channels_x8(int32_t rows, int32_t in_c, int32_t out_c, const uint16_t *channels,
                           const void *x, void *y);
void te_gather_channels_x16(int32_t rows, int32_t in_c, int32_t out_c, const uint16_t *channels,
                            const void *x, void *y);
void te_gather_channels_x32(int32_t rows, int32_t in_c, int32_t out_c, const uint16_t *channels,
                            const void *x, void *y);

#endif
