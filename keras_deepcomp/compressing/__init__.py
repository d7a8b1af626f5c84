"""What `keras_deepcomp.compress` is made of: rounds, and what decides on the next one.

`data` and `compiling` make copies of the user's model train and be measured as it was; `goals` says
what a budget allows; `sensitivity` looks at the layers once; `steering` chooses the next round from
what was measured; `rounds` carries one out; `journal` keeps all of it on disk; `progress` and
`result` are what people see. `keras_deepcomp.compression` is the loop around them.
"""
