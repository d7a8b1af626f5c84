"""What `keras_deepcomp.compress` is made of: rounds, and what decides on the next one.

`data`, `compiling` and `teaching` make copies of the user's model train and be measured as it was;
`goals` says what a budget allows; `sensitivity` looks at the layers once; `steering` and
`codebooks` choose what to try from what was measured; `rounds` carries it out; `journal` keeps all
of it on disk; `searching` is the loop around them; `progress` and `result` are what people see.
`keras_deepcomp.compression` has the call.
"""
