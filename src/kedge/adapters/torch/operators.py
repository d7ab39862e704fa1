"""The operators of ATen that a program may name: those that compute answers from tensors.

ATen has others that read and write files (`from_file`, `save`), hand out memory as they find it (`empty`, `resize_`), or
trust indices unseen: so what is not named here is refused. Each also stands for its form in place, with a `_` behind.
"""

import re

_NAMES = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _assert_scalar _assert_tensor_metadata _cdist_forward _local_scalar_dense
_log_softmax _native_batch_norm_legit _native_batch_norm_legit_no_training _pdist_forward _softmax _to_copy abs acos
acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d add addcdiv addcmul addmm addmv addr alias all alpha_dropout amax amin aminmax angle any arange
argmax argmin argsort asin asinh atan atan2 atanh avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear
bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm broadcast_tensors broadcast_to
bucketize cat cdist ceil celu channel_shuffle chunk clamp clamp_max clamp_min clip clone col2im column_stack concat
concatenate constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
convolution copy copysign cos cosh cosine_similarity cross cummax cummin cumprod cumsum deg2rad detach diag diag_embed
diagonal diff digamma dist div divide dot dropout einsum elu embedding eq equal erf erfc erfinv exp exp2 expand
expand_as expm1 eye feature_dropout fill flatten flip fliplr flipud float_power floor floor_divide fmax fmin fmod frac
full full_like gather gcd ge gelu glu greater greater_equal grid_sampler grid_sampler_2d group_norm gru gru_cell gt
hardshrink hardsigmoid hardswish hardtanh heaviside histc hstack hypot i0 im2col index index_add index_copy index_fill
index_put index_select inner instance_norm isclose isfinite isinf isnan isneginf isposinf item kthvalue layer_norm lcm
ldexp le leaky_relu lerp less less_equal lgamma lift_fresh_copy linalg_cross linalg_matrix_norm linalg_norm
linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_softmax logaddexp logaddexp2 logcumsumexp
logical_and logical_not logical_or logical_xor logit logspace logsumexp lstm lstm_cell lt masked_fill masked_scatter
masked_select matmul max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum mean
median meshgrid min minimum mish mm mode moveaxis movedim mul multinomial multiply mv mvlgamma nan_to_num nanmean
nanmedian nanquantile nansum narrow native_batch_norm native_dropout native_group_norm native_layer_norm ne neg negative
new_full new_ones new_zeros nonzero norm not_equal one_hot ones ones_like outer pad pairwise_distance pdist permute
pixel_shuffle pixel_unshuffle polar polygamma positive pow prelu prod quantile rad2deg rand rand_like randint randn
randn_like randperm ravel reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder repeat
repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as rms_norm rnn_relu
rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 round rrelu rsqrt rsub scalar_tensor scaled_dot_product_attention
scatter scatter_add scatter_reduce searchsorted select select_scatter selu sgn sigmoid sign signbit silu sin sinc sinh
slice slice_scatter softmax softplus softshrink sort special_entr special_erfcx special_expit special_log1p
special_log_softmax special_logsumexp special_softmax special_xlog1py special_xlogy split split_with_sizes sqrt square
squeeze stack std std_mean sub subtract sum sum_to_size swapaxes swapdims sym_constrain_range
sym_constrain_range_for_size sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride t take take_along_dim
tan tanh tensor_split threshold tile to topk trace transpose triangular_solve tril tril_indices triu triu_indices
true_divide trunc type_as unbind unflatten unfold unique_consecutive unique_dim unsqueeze unsqueeze_copy
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
upsample_trilinear3d var var_mean view view_as vstack where xlogy zero zeros zeros_like
"""
ATEN = frozenset(_NAMES.split())
_OVERLOAD = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


def computes(target: str) -> bool:
    """Say whether `target` is one of these operators, with its overload: "torch.ops.aten.add.Tensor"."""
    match target.split("."):
        case ["torch", "ops", "aten", name, overload]:
            return (name in ATEN or name.removesuffix("_") in ATEN) and bool(_OVERLOAD.fullmatch(overload))
    return False
