"""Values that names suggest, chosen so that the usual constraints between them hold.

In: a name and a profile of sizes. Out: Python source of a value. One literal table, first match
wins; knows nothing of types, classes or torch objects. Part of the worker: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Every profile: dim divisible by heads, image by patch, channels by groups. The second makes all
# sizes equal, for modules that add or multiply what they were not told to be alike.
PROFILES: tuple[Mapping[str, int], ...] = (
    {"dim": 16, "heads": 4, "head_dim": 4, "wide": 32, "out": 8, "in_channels": 3, "channels": 8,
     "out_channels": 16, "image": 32, "patch": 8, "length": 16, "vocab": 40, "layers": 2,
     "kernel": 3, "classes": 5, "steps": 20, "count": 4},
    {"dim": 8, "heads": 2, "head_dim": 4, "wide": 8, "out": 8, "in_channels": 8, "channels": 8,
     "out_channels": 8, "image": 8, "patch": 2, "length": 8, "vocab": 8, "layers": 1,
     "kernel": 3, "classes": 8, "steps": 8, "count": 8},
    {"dim": 64, "heads": 4, "head_dim": 16, "wide": 128, "out": 64, "in_channels": 64,
     "channels": 64, "out_channels": 64, "image": 64, "patch": 16, "length": 32, "vocab": 100,
     "layers": 2, "kernel": 3, "classes": 10, "steps": 50, "count": 2},
    {"dim": 32, "heads": 2, "head_dim": 16, "wide": 64, "out": 16, "in_channels": 1,
     "channels": 4, "out_channels": 8, "image": 28, "patch": 7, "length": 12, "vocab": 64,
     "layers": 3, "kernel": 5, "classes": 3, "steps": 10, "count": 3},
)  # fmt: skip

# name pattern -> a size of the profile, or source as it stands
_NAMES: tuple[tuple[str, str], ...] = (
    (r".*drop.*|p|prob(ability)?", "0.1"),
    (r"(.*_)?eps(ilon)?", "1e-05"),
    (r"(bias|qkv_bias|.*_bias|affine|elementwise_affine|learnable|batch_first)", "True"),
    (r"(use|with|is|has|enable|do|return|add|apply|share|no|skip|requires|should)_.*", "False"),
    (r"(causal|pretrained|normalize|inplace|debug|verbose|bidirectional|training|flash)", "False"),
    (r"(rope_)?(theta|base)|max_period|rotary_base|freq_base|(.*_)?temperature_base", "10000.0"),
    (r"beta_?(start|1|min)", "0.0001"),
    (r"beta_?(end|t|max)", "0.02"),
    (r"temp(erature)?|tau|scale|alpha|beta|gamma|decay|ema_decay|sigma|margin|smoothing|"
     r".*(_scale|_weight|_rate|_ratio|_factor|_decay|_prob|_gain|_std)|label_smoothing|lambda_?|"
     r"lmbda|threshold|slope|momentum|rho|lr", "0.5"),
    (r"mlp_ratio|ffn_ratio|expansion(_factor)?|expand(_ratio)?|mult|ff_mult|widen_factor", "2"),
    (r"(n|num)?_?(kv|key_value|query|q)_?heads?|num_key_value_heads|n_head_kv", "heads"),
    (r"(n|num|attn|attention|num_attention|num_attn|decoder_attention|encoder_attention)?_?"
     r"(n?heads?|headnum)|h", "heads"),
    (r"(head|heads)_?(dim|size|width|channels)|(dim|d|dims)_?(per_)?heads?|d_?[kvq]|d_kv|kdim|"
     r"vdim|rotary_dim|rope_dim", "head_dim"),
    (r".*(layers?|depth|blocks?|stages|stacks?|levels|repeats|num_res)|l|n_flows", "layers"),
    (r".*(vocab|vocabulary|token_types?|type_vocab).*|(n|num)_?(tokens|embeddings?|symbols|words|"
     r"items|users|nodes|entities|relations|codes|embed|atoms|species|residues)|ntokens?|"
     r"codebook_size|(src|tgt|trg)_(vocab|pad).*size|input_vocab|ntoken", "vocab"),
    (r".*(pad|bos|eos|unk|mask|cls|sep)_?(token)?_?(id|idx|index)|ignore_index", "0"),
    (r"n_?fft|win_?(length|size)|filter_length|nfft|fft_size|window_length", "64"),
    (r"hop_?(length|size)|.*frame_shift", "16"),
    (r"n_?mels?(_channels)?|num_mels?|n_mfcc|n_filters|num_mel_bins|n_bins", "channels"),
    (r"sample_?rate|sampling_rate|sr|fs", "16000"),
    (r"f_?min|fmin|low_freq", "0.0"),
    (r"f_?max|fmax|high_freq", "8000.0"),
    (r".*timesteps?|(num_?|n_?)(train_?|diffusion_?)?(time)?steps?|diffusion_steps|t|steps?",
     "steps"),
    (r".*(max|block|context|seq|sequence|src|tgt|text|chunk|memory|history|horizon|lookback|pred|"
     r"input|label).*(len|length|size_max|positions?|ctx)|.*(max_len|maxlen|max_length|seqlen|"
     r"seq_len|block_size|context_(length|size|window|len)|n_ctx|n_positions?|max_positions?|"
     r"max_pos|num_positions|max_position_embeddings|max_seq|sequence_length|window_size|window|"
     r"chunk_size|length|num_patches|n_patches|num_queries|max_n|max_time|max_frames|num_frames)",
     "length"),
    (r"(in|input|img|image|inp|source|src)_?(chans?|channels?|planes?|ch|c)|c_?in|inplanes|"
     r"in_?c|nc_in|ch_in|inch|inp|num_input_channels|colors?|input_nc|image_channels",
     "in_channels"),
    (r"(out|output|oup|outp)_?(chans?|channels?|planes?|ch|c)|c_?out|out_?c|ch_out|oup|output_nc|"
     r"outplanes|planes", "out_channels"),
    (r".*(chans?|channels?|planes?|filters|feature_maps?)|(base_)?ch|c|nf|ngf|ndf|base_width|"
     r"nfeat", "channels"),
    (r".*(num_?|n_?)?(class(es)?|labels|categories|ways?|targets|anchors)|nc|num_outputs?|"
     r"n_outputs?|n_?cls|nclass", "classes"),
    (r".*kernel_?(size)?s?|ksize|kernel_width|ks|k_size|k|filter_size|taps|win", "kernel"),
    (r".*stride|.*dilation|.*groups|.*dilations", "1"),
    (r".*padding", "1"),
    (r".*patch_?(size|len|length)?|patch_(height|width)", "patch"),
    (r".*(image|img|input_image|crop|spatial|grid)_?(size|res|resolution|dim|height|width|h|w)?|"
     r"resolution|.*height|.*width|res|size|[hw]", "image"),
    (r"(out|output|target|tgt|proj|projection|z|latent|code|embed_out)_?(dim|dims|features?|size|"
     r"d|units|feats)|d_?out|(latent|code|z)(_dim)?|odim|nout|n_out", "out"),
    (r"hidden_size|hidden_d", "dim"),
    (r"(mlp|ffn?|feed_?forward|inner|intermediate|hidden|expanded|middle|ff)_?(dim|dims|size|"
     r"features|d|units|hidden)|d_?(ff|ffn|inner|hid|hidden)|dim_?(feed_?forward|ff|mlp|inner)|"
     r"d_inner|hid_?(dim)?|hidden|nhid|n_hidden|n_inner|bottleneck(_dim)?", "wide"),
    (r".*(embed|embedding|model|emb|d_model|input|in|feature|token|node|edge|"
     r"cond|time|pos|query|key|value|context|state|action|obs|observation|n|attn)_?(dims?|size|"
     r"features?|width|d|embd|channels)|.*dims?|d|e|d_.*|n_?embd|ninp|n_units|units|features|"
     r"num_features|n_features|in_feats?|feats?|n_?in|n_?state|width|idim|embedding|embed|"
     r".*_features", "dim"),
    (r"batch_?(size)?|bsz|b|bs", "2"),
    (r"num_?(groups|buckets|experts|bins|freqs?|frequencies|bands|samples|points|kernels|basis|"
     r"rbf|gaussians|components|clusters|slots|centers|scales).*|n_?(groups|experts|bins|freqs|"
     r"bands|samples|components|clusters).*|top_?k|rank|r|order|degree|max_degree|period|"
     r"octaves|ratio|factor|reduction_ratio", "count"),
    (r"(num|n|max)_.*", "count"),
    (r"reduction", "'mean'"),
    (r"padding_mode", "'zeros'"),
    (r"act(ivation)?(_fn|_func|_function|_type|_name)?|hidden_act|nonlinearity|non_lin", "'relu'"),
    (r".*(path|file|checkpoint|ckpt|weights_url|cache_dir|url|tokenizer)", "None"),
    (r"device|.*_device", "'cpu'"),
    (r"seed|.*_seed|start|offset|index|idx|layer_(id|idx|index|number)|level|shift|.*_shift", "0"),
    (r"low|lower|min|.*_min|vmin|xmin|a_min|near|minimum|start_.*", "0.0"),
    (r"high|upper|max|.*_max|vmax|xmax|a_max|far|cutoff|maximum|radius|r_max|end|stop", "4.0"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), value) for pattern, value in _NAMES)


def plain_name(name: str) -> str:
    """'hiddenSize' and 'HIDDEN_SIZE' as 'hidden_size'."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("_"))
    return snake.lower()


def suggest(name: str, sizes: Mapping[str, int]) -> str | None:
    """Source of the value that a name calls for, None where it says nothing."""
    lowered = plain_name(name)
    for pattern, value in _COMPILED:
        if pattern.fullmatch(lowered):
            return str(sizes[value]) if value in sizes else value
    return None


def size_kind(name: str) -> str:
    """Which size of a profile a name speaks of ('layers', 'dim'), or empty."""
    lowered = plain_name(name)
    value = next((value for pattern, value in _COMPILED if pattern.fullmatch(lowered)), "")
    return value if value in PROFILES[0] else ""


def is_size(name: str) -> bool:
    """Whether a name speaks of a size that a profile can make small."""
    return bool(size_kind(name))
