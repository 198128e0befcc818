/* te_kernels.h - every kernel that generated code may call. */
#ifndef TE_KERNELS_H
#define TE_KERNELS_H

#include "te_kernels_dsp.h"
#include "te_kernels_f32.h"
#include "te_kernels_grad.h"
#include "te_kernels_layout.h"
#include "te_kernels_mve.h"
#include "te_kernels_s8.h"
#include "te_kernels_update.h"
#include "te_stream.h"

/* Generated arrays start at a whole word, so that variants may load words. */
#define TE_ALIGNED __attribute__((aligned(8)))

#endif
