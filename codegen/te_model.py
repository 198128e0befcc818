"""`te_model` of firmware/include/te_model.h as ctypes sees it, for programs of this computer."""

import ctypes

P, U = ctypes.c_void_p, ctypes.c_uint32


class Hyper(ctypes.Structure):
    """te_hyper: what may be changed while the code runs."""

    _fields_ = (("lr", ctypes.c_float), ("seed", U), ("step", U))


class Tensor(ctypes.Structure):
    """te_tensor: one tensor that lives in RAM."""

    _fields_ = (("name", ctypes.c_char_p), ("data", P), ("bytes", U), ("dtype", ctypes.c_int))


class Model(ctypes.Structure):
    """te_model: the descriptor of a generated model."""

    _fields_ = (
        *(("name", ctypes.c_char_p), ("hash", ctypes.c_uint8 * 32), ("input", P)),
        *(("input_bytes", U), ("output", P), ("output_bytes", U), ("output_dtype", ctypes.c_int)),
        *(("classes", U), ("state", ctypes.POINTER(Tensor)), ("state_count", U)),
        *(("hyper", ctypes.POINTER(Hyper)), ("init", P), ("feed", P), ("forward", P)),
        ("train_step", P),
        *(("forward_marks", U), ("train_marks", U), ("logits", P)),
    )
