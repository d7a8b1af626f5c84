"""Models of tfmot, the TensorFlow Model Optimization Toolkit, as models of ours.

What is read there passes through plain data on its way here, so that the two Keras need not meet in
one process:

    tf-keras model --reading--> ModelState --translation--> Keras 3 configuration --building--> ours

`worker` does the reading in a process of its own, for models in files, and `state` carries the
result over.
"""
