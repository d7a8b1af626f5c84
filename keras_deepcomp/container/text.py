"""Text in a file: names and architectures in very few bytes.

Text is a raw DEFLATE stream (RFC 1951) after a preset dictionary: what Keras' architectures and
the names of its variables are made of stands in the dictionary, so that even the first time a word
occurs in a text it is a copy. Any decoder of DEFLATE that takes a dictionary can read it.
"""

from __future__ import annotations

import sys
import zlib

from keras_deepcomp.container.deflate import deflate, stored
from keras_deepcomp.container.errors import damaged

# fmt: off
DICTIONARY = (
    b'","config":{"},"module":","registered_name":"interpolationfill_modefill_value_rangebilineare'
    b'stmax_tokensoutput_modestandardize,"exponential","leaky_relu","softplus"VarianceScaling",{"d'
    b'istribution":"uniform","mode":"fan_out","scale":["MaxNorm",{"max_value":"NonNeg"["L1L2","Con'
    b'stant"HeUniform"LecunNormal"LecunUniform"RandomUniform"Orthogonal"Ones"Zeros"TruncatedNormal'
    b'"GlorotNormal"RandomNormal"bias_initializer":["_constraint":["_regularizer":["QuantizedDType'
    b'PolicyQuantizer"recurrent_activation":"recurrent_dropoutunit_forget_bias"stateful":true"retu'
    b'rn_state":true"merge_mode":"decodergroupsactivity_regularizer"data_format":"channels_first"_'
    b'projectoutput_paddingnegative_slopethreshold_proj"bias_axes":"equation":"output_shape"keepdi'
    b'ms":true{"use_bias":false}],["BatchNormalization","sparse":true"ragged":true0.0005],["Catego'
    b'ryEncoding","category_encoding"RandomBrightness{"<":[{"args":[["<","RandomTranslation"Random'
    b'Contrast"SpectralNormalization"mean":["ZeroPadding1D","zero_padding1d],["Masking","masking"U'
    b'pSampling1D","up_sampling1d"silu"AlphaDropout"Identity","identity"AveragePooling1D","average'
    b'_pooling1d"GroupQueryAttention"RandomZoom","random_zoom"RandomRotation","random_rotationkey/'
    b'kernel"RandomFlip","random_flip"CenterCrop"mask_zero":truereset_after"Resizing","resizing"In'
    b'tegerLookup[null,28,28,1]],["Conv2D","conv2d"StringLookup","string_lookup"TextVectorization"'
    b',"text_vectorization"UnitNormalization","unit_normalization"RMSNormalization","rms_normaliza'
    b'tion],["Conv2DTranspose","conv2d_transpose"GroupNormalization","group_normalization"Additive'
    b'Attention","additive_attention"Attention","attention/pointwise_kernel\n\x84"Dot","dot"Subtra'
    b'ct","subtract"Maximum","maximum"Average","average],["GRU","gru"RepeatVector","repeat_vector]'
    b',["Normalization","normalization"Permute","permute"Conv1DTranspose","conv1d_transpose"Gaussi'
    b'anNoise","gaussian_noise"SpatialDropout1D","spatial_dropout1d"output_layers":[["ELU","elu"PR'
    b'eLU","p_re_lu"EinsumDense","einsum_dense_add],["AveragePooling2D","average_pooling2dattentio'
    b'n_output/kernel"mixed_bfloat16"_bn_relubn_avg_poolmodel_1_expand0.999],["GlobalMaxPooling2D"'
    b',"global_max_pooling2d{"class_name":"features,"hard_silu"depth_multiplier":],["MaxPooling1D"'
    b',"max_pooling1d"variance":[],["Discretization","discretization,"relu6"],["ReLU","re_luquery/'
    b'kernel0.001layer_normalization/gamma],["GlobalMaxPooling1D","global_max_pooling1d],["GlobalA'
    b'veragePooling2D","global_average_pooling2d],["ConvLSTM2D","conv_lstm2d"dilation_rate":[2,2]'
    b'\x1fbatch_normalization/moving_mean\nA],["SeparableConv2D","separable_conv2d],["Bidirectiona'
    b'l","bidirectional],["Cropping2D","cropping2dfunctional_],["LayerNormalization","layer_normal'
    b'ization],["MultiHeadAttention","multi_head_attentionuint8],["Conv3D","conv3d],["GlobalAverag'
    b'ePooling1D","global_average_pooling1d],["TimeDistributed","time_distributed\x19batch_normali'
    b'zation/gamma\nA/depthwise_kernel\n\x84],["UpSampling2D","up_sampling2d"epsilon":1e-06pool1"c'
    b'ropping":[[512[7,7]"backward_layer":["LSTM","backward_lstm",0.25]"go_backwards":true,"return'
    b'_sequences":truencoder"sigmoid"],["LeakyReLU","leaky_re_lu],["Multiply","multiply_2"],["Flat'
    b'ten","flatten],["Activation","activation_depthwise],["Rescaling","rescaling\rconv2d/kernel\n'
    b'\x84"trainable":false#batch_normalization/moving_variance\nA[2,2],"same",256],["Add","addblo'
    b'ck1],["Softmax","softmaxblock_0.0001]"epsilon":1e-05],["LSTM","lstmcount"shared_axes":[1,2]"'
    b'offset":-1.0hidden/iterationpredictions[5,5],"hard_sigmoid"],["Reshape","reshape],["SimpleRN'
    b'N","simple_rnn",0,0],["ZeroPadding2D","zero_padding2d"dtype":["DTypePolicy","mixed_float16],'
    b'["DepthwiseConv2D","depthwise_conv2d],["SpatialDropout2D","spatial_dropout2d"zero_output_for'
    b'_mask":true}],["[1,1],"selu"[null,224,224,3]],["\x0bconv2d/bias\nAlstm/lstm_cell/recurrent_k'
    b'ernel\n\x82{"activation":"relu"}],["value/kernel0.00392156862745098],["SeparableConv1D","sep'
    b'arable_conv1d"float64"gelu"{"dtype":"int32"}],["Embedding","embedding"int64"use_causal_mask"'
    b':true/embeddings\n\x821000,"softmax"]]]]128,"elu"[1,["Functional","functional",[["InputLayer'
    b'","input_layer",[null,{"<":[[{"padding":"same","use_bias":false}],["BatchNormalization","bat'
    b'ch_normalization\x18batch_normalization/beta\nA0.5],["Dense","],["MaxPooling2D","max_pooling'
    b'2d"kwargs":{"training":false}}]}],["Concatenate","concatenate[null,784]],["Dense","dense,"ta'
    b'nh"],["Dropout","dropout{"activation":"relu","padding":"same"}],["Conv1D","conv1dfc1/seed_ge'
    b'nerator_state\x07A\x02"attention_axes":[1],"dropout":0.1,"value_dim":gru/gru_cell/kernelscal'
    b'e"kernel_initializer":["HeNormal"],"kernel_regularizer":["L2",10,"softmax"]]]]_1",\x0cdense/'
    b'kernel\n\x8264,[3,3],\ndense/bias\nA[1,["Sequential","sequential",[["InputLayer","input_laye'
    b'r",[null,"relu"],["Dense","dense_"input_layers":[["\x01\x05keras'
)
# fmt: on
"""What a decoder is given before a text. It belongs to the format, so not a byte of it may change.

It was put together by hand from Keras' class names, arguments and default layer names, spelled and
joined as architectures spell them, and from variable names between the bytes that stand around
them in a directory. Then a search over some forty models, most of them small, put them in order:
what these use most comes last, where a copy has the shortest distance. Most of what they do not use
comes first, for models unlike them.
"""


def compress(data: bytes, *, level: int = 1) -> bytes:
    """Return text as a raw DEFLATE stream after `DICTIONARY`.

    The bytes depend on the text alone. Up to 1 MiB, much is tried to make them few; beyond, text
    is compressed quickly.

    Args:
        data: Any bytes, though the dictionary helps only text like Keras'.
        level: 0 stores the text as it is; anything else compresses it.

    Returns:
        The stream.
    """
    return deflate(data, DICTIONARY) if level else stored(data)


def decompress(data: bytes | memoryview, size: int, what: str) -> bytes:
    """Return the text of a stream, of a size known before.

    Args:
        data: Any raw DEFLATE stream after `DICTIONARY`, not only one that `compress` made.
        size: How many bytes the text must have. No more memory is taken than that, and a little.
        what: What the text is, for error messages.

    Returns:
        The text.

    Raises:
        FormatError: The stream is damaged or cut off, something comes after it, or its text is
            longer or shorter.
    """
    decoder = zlib.decompressobj(-zlib.MAX_WBITS, zdict=DICTIONARY)
    try:
        # One more byte, to see whether there is one. It also keeps the bound from being 0, which
        # would stand for no bound.
        text = decoder.decompress(data, min(size + 1, sys.maxsize))
    except zlib.error:
        raise damaged(f"{what} is not a DEFLATE stream") from None
    if len(text) > size:
        raise damaged(f"{what} has more than the {size:,} bytes that it should have")
    if not decoder.eof:
        raise damaged(f"{what} ends early")
    if len(text) < size:
        raise damaged(f"{what} has {len(text):,} bytes, and should have {size:,}")
    if decoder.unused_data:
        raise damaged(f"{len(decoder.unused_data):,} bytes are left over after {what}")
    return text
