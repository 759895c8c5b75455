"""What no source says, or says wrongly, each with its reason.

Rows apply to an object under every name it has. Takes and gives plain data; it refuses anything
that a stub, an annotation or a schema already says right.
"""

from __future__ import annotations

_LINALG = "torch.linalg."
_F = "torch.nn.functional."

# qualified name (or 'Tensor.x' for a method or attribute) -> (kind and variants, reason)
KINDS: dict[str, tuple[str, str]] = {
    "torch.where": ("tensor; input@1=missing tuple", "one argument alone means nonzero(as_tuple)"),
    "Tensor.where": ("tensor", "the method always has all three arguments"),
    "torch.quantize_per_tensor": ("tensor", "the list form is an internal of quantisation"),
    "torch.dequantize": ("tensor", "the list form is an internal of quantisation"),
    "Tensor.size": ("size; dim@0=given number", "no argument or one"),
    "Tensor.stride": ("object; dim@0=given number", "no argument or one"),
    "Tensor.type": ("object; dtype@0=given tensor", "a question without, a cast with an argument"),
    "Tensor.__eq__": ("tensor", "the bool overload is for other types"),
    "Tensor.__ne__": ("tensor", "the bool overload is for other types"),
    "Tensor.numpy": ("array", "the stub says Any"),
    "Tensor.__array__": ("array", "the stub says nothing"),
    "Tensor.tolist": ("object", "nested lists of numbers"),
    "Tensor.grad_fn": ("none|object", "the stub names a class it does not define"),
    "Tensor.names": ("object", "named tensors have no stub"),
    "Tensor.name": ("object", "an unused field of the C class"),
    "Tensor.__len__": ("number", "python code without annotations"),
    "Tensor.__iter__": ("object", "an iterator over tensors"),
    "Tensor.dim_order": ("object", "numbers"),
    "Tensor.register_hook": ("object", "a handle"),
    "Tensor.register_post_accumulate_grad_hook": ("object", "a handle"),
    "Tensor.storage": ("object", "a storage"),
    "Tensor.untyped_storage": ("object", "a storage"),
    "Tensor.storage_offset": ("number", "the stub says int or SymInt"),
    "Tensor.storage_type": ("object", "a class"),
    "Tensor.as_subclass": ("tensor", "the stub says a type variable"),
    "Tensor.item": ("number", "no source separates bool from numbers"),
    "Tensor.split": ("tuple", "the stub says Sequence"),
    "Tensor.unique": (
        "tensor; return_inverse@1=true tuple:2; return_counts@2=true unknown",
        "python code without annotations",
    ),
    "Tensor.unique_consecutive": (
        "tensor; return_inverse@0=true tuple:2; return_counts@1=true unknown",
        "python code without annotations",
    ),
    "torch.unique": (
        "tensor; return_inverse@2=true tuple:2; return_counts@3=true unknown",
        "chosen by boolean arguments",
    ),
    "torch.unique_consecutive": (
        "tensor; return_inverse@1=true tuple:2; return_counts@2=true unknown",
        "chosen by boolean arguments",
    ),
    "torch.split": ("tuple", "python code, annotated as a sequence"),
    "torch.meshgrid": ("tuple", "takes any number of tensors"),
    "torch.atleast_1d": ("tensor; tensors@1=given tuple", "one tensor or many"),
    "torch.atleast_2d": ("tensor; tensors@1=given tuple", "one tensor or many"),
    "torch.atleast_3d": ("tensor; tensors@1=given tuple", "one tensor or many"),
    "torch.lu": ("tuple:2; get_infos@2=true tuple:3", "chosen by a boolean argument"),
    "torch.tensordot": ("tensor", "python code without annotations"),
    "torch.norm": ("tensor", "python code without annotations"),
    "torch.vmap": ("callable", "python code without annotations"),
    "torch.split_copy": ("tuple", "the stub has only the out= form"),
    "torch.split_with_sizes_copy": ("tuple", "the stub has only the out= form"),
    "torch.unbind_copy": ("tuple", "the stub has only the out= form"),
    "torch.histogramdd": ("tuple(tensor,tuple)", "the stub does not say what its fields hold"),
    "torch.autograd.grad": ("tuple", "annotated as a sequence or a tree, for tree inputs"),
    "torch.load": ("unknown", "whatever was saved"),
    "torch.hub.load": ("unknown", "whatever the entry point makes, a module as a rule"),
    "torch.hub.load_state_dict_from_url": ("unknown", "whatever was saved"),
    "torch.utils.checkpoint.checkpoint": ("unknown", "what the function returns"),
    "torch.utils.checkpoint.checkpoint_sequential": ("unknown", "what the functions return"),
    "torch.utils.data.default_collate": ("unknown", "follows its argument"),
    "torch.utils.data.default_convert": ("unknown", "follows its argument"),
    "torch.func.functional_call": ("unknown", "what the module returns"),
    "torch.nn.utils.stateless.functional_call": ("unknown", "what the module returns"),
    "torch.cond": ("unknown", "what the branch returns"),
    "torch.while_loop": ("unknown", "what the body returns"),
    "torch.compile": ("unknown", "a module for a module, a callable for a callable"),
    "torch.jit.script": ("unknown", "a module for a module, a callable for a callable"),
    "torch.jit.trace": ("unknown", "a module for a module, a callable for a callable"),
    "torch.jit.freeze": ("module", "python code without annotations"),
    "torch.jit.load": ("module", "python code without annotations"),
    "torch.is_tensor": ("bool", "annotated as TypeIs"),
    "torch.is_storage": ("bool", "annotated as TypeIs"),
    "torch.get_device_module": ("object", "a python module"),
    "torch.get_file_path": ("object", "a string"),
    "torch.obj": ("object", "a leftover name"),
    "torch.sym_int": ("number", "symbolic or plain"),
    "torch.sym_max": ("number", "symbolic or plain"),
    "torch.sym_min": ("number", "symbolic or plain"),
    "torch.sym_ite": ("number", "symbolic or plain"),
    "torch.sym_not": ("bool", "symbolic or plain"),
    "torch.sym_sum": ("number", "symbolic or plain"),
    "torch.nn.utils.skip_init": ("module", "python code without annotations"),
    "torch.nn.utils.parametrizations.weight_norm": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.l1_unstructured": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.ln_structured": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.random_structured": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.random_unstructured": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.identity": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.custom_from_mask": ("module", "returns the module it was given"),
    "torch.nn.utils.prune.remove": ("module", "returns the module it was given"),
    _F + "upsample": ("tensor", "python code without annotations"),
    _F + "upsample_bilinear": ("tensor", "python code without annotations"),
    _F + "upsample_nearest": ("tensor", "python code without annotations"),
    _F + "adaptive_max_pool1d": (
        "tensor; return_indices@2=true tuple:2",
        "the stub makes it keyword-only",
    ),
    "torch.nn.Parameter": ("parameter", "a class"),
    "torch.nn.UninitializedParameter": ("parameter", "a class"),
    "torch.nn.Buffer": ("buffer", "a class"),
    "torch.nn.UninitializedBuffer": ("buffer", "a class"),
    "torch.device": ("device", "a class"),
    "torch.Size": ("size", "a class"),
    "torch.dtype": ("dtype", "a class"),
    "torch.Generator": ("generator", "a class"),
    "torch.func.grad": ("callable", "a transform"),
    "torch.func.vjp": ("unknown", "outputs and a function"),
    "torch.special.log_softmax": ("tensor", "doc only"),
}

# names of releases before the table's torch, met in older code
REMOVED: dict[str, str] = {
    "torch.eig": "tuple:2",
    "torch.irfft": "tensor",
    "torch.rfft": "tensor",
    "torch.lstsq": "tuple:2",
    "torch.matrix_rank": "tensor",
    "torch.solve": "tuple:2",
    "torch.symeig": "tuple:2",
    "torch.ifft": "tensor",
    "torch.gels": "tuple:2",
    "torch.potrf": "tensor",
    "torch.btrifact": "tuple:2",
}

_RANDOM = """
torch.nn.init.uniform_ torch.nn.init.normal_ torch.nn.init.trunc_normal_
torch.nn.init.xavier_uniform_ torch.nn.init.xavier_normal_ torch.nn.init.kaiming_uniform_
torch.nn.init.kaiming_normal_ torch.nn.init.orthogonal_ torch.nn.init.sparse_
torch.nn.init.uniform torch.nn.init.normal torch.nn.init.xavier_uniform
torch.nn.init.xavier_normal torch.nn.init.kaiming_uniform torch.nn.init.kaiming_normal
torch.nn.init.orthogonal torch.nn.init.sparse
torch.nn.functional.dropout torch.nn.functional.dropout1d torch.nn.functional.dropout2d
torch.nn.functional.dropout3d torch.nn.functional.alpha_dropout
torch.nn.functional.feature_alpha_dropout torch.nn.functional.gumbel_softmax
torch.nn.functional.rrelu torch.nn.functional.rrelu_
torch.nn.functional.fractional_max_pool2d torch.nn.functional.fractional_max_pool3d
torch.nn.functional.fractional_max_pool2d_with_indices
torch.nn.functional.fractional_max_pool3d_with_indices
torch.svd_lowrank torch.pca_lowrank torch.lobpcg torch.seed torch.random.seed
torch.utils.data.random_split torch.testing.make_tensor torch.rand torch.randn torch.randperm
"""
# drawn from only when a dropout argument is set, which a constructor never does
_NOT_RANDOM = """
torch.lstm torch.gru torch.rnn_tanh torch.rnn_relu
torch.nn.functional.scaled_dot_product_attention torch._C._nn.scaled_dot_product_attention
"""
_INPLACE = """
torch.nn.init.uniform_ torch.nn.init.normal_ torch.nn.init.trunc_normal_ torch.nn.init.constant_
torch.nn.init.ones_ torch.nn.init.zeros_ torch.nn.init.eye_ torch.nn.init.dirac_
torch.nn.init.xavier_uniform_ torch.nn.init.xavier_normal_ torch.nn.init.kaiming_uniform_
torch.nn.init.kaiming_normal_ torch.nn.init.orthogonal_ torch.nn.init.sparse_
torch.nn.init.uniform torch.nn.init.normal torch.nn.init.constant torch.nn.init.eye
torch.nn.init.dirac torch.nn.init.xavier_uniform torch.nn.init.xavier_normal
torch.nn.init.kaiming_uniform torch.nn.init.kaiming_normal torch.nn.init.orthogonal
torch.nn.init.sparse torch.nn.functional.relu_ torch.nn.functional.leaky_relu_
torch.nn.functional.elu_ torch.nn.functional.selu_ torch.nn.functional.celu_
torch.nn.functional.hardtanh_ torch.nn.functional.rrelu_ torch.nn.functional.threshold_
Tensor.requires_grad_ Tensor.share_memory_ Tensor.rename_ Tensor.apply_ Tensor.map_ Tensor.map2_
"""
_VIEW = """
torch.from_numpy torch.frombuffer torch.from_dlpack torch.utils.dlpack.from_dlpack torch.split
torch.broadcast_tensors torch.meshgrid torch.broadcast_to Tensor.split
Tensor.unflatten Tensor.refine_names Tensor.align_to Tensor.align_as
"""
# torch hands back the argument itself when there is nothing to do
_MAY_VIEW = """
torch.as_tensor torch.asarray torch.reshape Tensor.reshape Tensor.reshape_as torch.flatten
Tensor.flatten torch.ravel Tensor.ravel Tensor.contiguous Tensor.to Tensor.cpu Tensor.cuda
Tensor.xpu Tensor.float Tensor.double Tensor.half Tensor.bfloat16 Tensor.long Tensor.int
Tensor.short Tensor.char Tensor.byte Tensor.bool Tensor.type Tensor.type_as Tensor.expand_as
Tensor.cfloat Tensor.cdouble Tensor.chalf Tensor.pin_memory Tensor.coalesce Tensor.conj
Tensor.resolve_conj Tensor.resolve_neg Tensor.to_dense Tensor.positive torch.positive
torch.atleast_1d torch.atleast_2d torch.atleast_3d torch.conj torch.resolve_conj
torch.resolve_neg torch.adjoint Tensor.as_subclass
"""
_EXPAND = """
Tensor.expand Tensor.expand_as Tensor.broadcast_to torch.broadcast_to torch.broadcast_tensors
torch.meshgrid Tensor.unfold Tensor.as_strided torch.as_strided
"""
_COMPLEX = """
torch.fft.fft torch.fft.ifft torch.fft.fft2 torch.fft.ifft2 torch.fft.fftn torch.fft.ifftn
torch.fft.rfft torch.fft.rfft2 torch.fft.rfftn torch.fft.ihfft torch.fft.ihfft2 torch.fft.ihfftn
torch.polar torch.complex torch.view_as_complex torch.linalg.eig torch.linalg.eigvals Tensor.cfloat
Tensor.cdouble Tensor.chalf
"""
_MAY_COMPLEX = """
torch.stft Tensor.stft torch.zeros torch.ones torch.full torch.tensor
torch.fft.fftshift torch.fft.ifftshift torch.istft
"""
_UNINITIALISED = """
torch.empty torch.empty_like torch.empty_strided torch.empty_permuted Tensor.new_empty
Tensor.new_empty_strided Tensor.new Tensor.resize_
"""
_LOADS = """
torch.load torch.hub.load torch.hub.load_state_dict_from_url torch.jit.load torch.from_file
torch.utils.model_zoo.load_url torch.serialization.load
"""
_BOOLEAN = """
eq ne lt le gt ge equal_ greater greater_equal less less_equal not_equal isnan isinf isfinite
isposinf isneginf isreal isclose isin logical_and logical_or logical_xor logical_not signbit all
any
"""
_INTEGER = """
argmax argmin argsort argwhere nonzero count_nonzero bucketize searchsorted bincount randint
randperm tril_indices triu_indices multinomial
"""
_REDUCES = """
sum mean prod std var max min median nanmedian nansum nanmean all any amax amin argmax argmin
norm dist dot vdot inner_ trace det logdet count_nonzero logsumexp_ std_mean var_mean aminmax
"""
_REDUCING_LOSSES = """
binary_cross_entropy binary_cross_entropy_with_logits cross_entropy nll_loss mse_loss l1_loss
smooth_l1_loss huber_loss kl_div hinge_embedding_loss cosine_embedding_loss ctc_loss
margin_ranking_loss multi_margin_loss multilabel_margin_loss soft_margin_loss
multilabel_soft_margin_loss triplet_margin_loss triplet_margin_with_distance_loss
gaussian_nll_loss poisson_nll_loss
"""


def _both(names: str) -> str:
    """The functions and the methods of these bare names."""
    return " ".join(f"torch.{n} Tensor.{n}" for n in names.split())


_ADDED: dict[str, str] = {
    "random": _RANDOM,
    "inplace": _INPLACE,
    "view": _VIEW,
    "may-view": _MAY_VIEW,
    "expand": _EXPAND,
    "complex": _COMPLEX,
    "may-complex": _MAY_COMPLEX,
    "uninitialised": _UNINITIALISED,
    "loads": _LOADS,
    "boolean": _both(_BOOLEAN) + " Tensor.bool",
    "integer": _both(_INTEGER) + " Tensor.long Tensor.int Tensor.short Tensor.char Tensor.byte",
    "reduces": " ".join(
        (
            _both(_REDUCES),
            *(_F + name for name in _REDUCING_LOSSES.split()),
            *(_LINALG + name for name in ("norm", "vector_norm", "det", "matrix_norm", "cond")),
        )
    ),
    "factory": """
torch.tensor torch.full torch.normal torch.from_numpy torch.frombuffer torch.linspace torch.logspace
torch.signal.windows.hann torch.fft.fftfreq torch.fft.rfftfreq
""",
}


def flags_to_add(name: str) -> frozenset[str]:
    return frozenset(flag for flag, names in _SETS.items() if name in names)


def flags_to_drop(name: str) -> frozenset[str]:
    dropped = {"random"} if name in _NOT_RANDOM_SET else set()
    # it copies; the operator of that name is the method, which does not
    if name == "torch.nn.functional.unfold":
        return frozenset({"view"})
    # a table that says both would make `view` mean less than it does
    return frozenset(dropped | ({"view"} if name in _SETS["may-view"] else set()))


_SETS = {flag: frozenset(names.split()) for flag, names in _ADDED.items()}
_NOT_RANDOM_SET = frozenset(_NOT_RANDOM.split())
