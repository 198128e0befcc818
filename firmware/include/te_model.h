/* te_model.h - what a generated model shows to the session that drives it.
 *
 * The code generator writes one `te_model` descriptor per model. Nothing here allocates: every
 * pointer is to static memory whose size the plan has proven.
 */
#ifndef TE_MODEL_H
#define TE_MODEL_H

#include <stdint.h>

typedef enum te_status { TE_OK = 0, TE_ERR_ARG = 1, TE_ERR_STATE = 2, TE_ERR_RANGE = 3 } te_status;

typedef enum te_dtype {
    TE_I8 = 0,
    TE_I16 = 1,
    TE_I32 = 2,
    TE_F32 = 3,
    TE_U8 = 4,
    TE_U32 = 5,
    TE_B1 = 6
} te_dtype;

/* One tensor that lives in RAM. */
typedef struct te_tensor {
    const char *name;
    void *data;
    uint32_t bytes;
    te_dtype dtype;
} te_tensor;

/* What may be changed while the firmware runs. */
typedef struct te_hyper {
    float lr;
    uint32_t seed;
    uint32_t step;
} te_hyper;

typedef struct te_model {
    const char *name;
    uint8_t hash[32]; /* SHA-256 of the graph text; the host refuses another */
    void *input; /* lives in the arena: forward and train_step overwrite it; NULL: see feed */
    uint32_t input_bytes;
    void *output;
    uint32_t output_bytes;
    te_dtype output_dtype;
    uint32_t classes;       /* 0: the output is not a classification */
    const te_tensor *state; /* trainable tensors, fractions, accumulators, in hash order */
    uint32_t state_count;
    te_hyper *hyper;
    void (*init)(void);                           /* weights and hyper back to as-compiled */
    /* Where the input is nowhere whole: its next bytes, in order; offset 0 begins anew. Else NULL. */
    te_status (*feed)(uint32_t offset, const void *bytes, uint32_t count);
    te_status (*forward)(const void *x, void *y); /* x NULL: in place; y NULL: stays in output */
    te_status (*train_step)(const void *x, uint32_t label, float *loss); /* NULL: inference only */
    uint32_t forward_marks; /* te_mark() calls that one forward makes */
    uint32_t train_marks;   /* te_mark() calls that one train_step makes */
    const float *logits;    /* `classes` of them, of the last train_step; NULL: inference only */
} te_model;

/* Defined by the generated src/te_session_model.c as a copy of the model's descriptor. */
extern const te_model te_session_model;

#endif
