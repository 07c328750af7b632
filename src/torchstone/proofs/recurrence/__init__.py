"""The recurrent networks of torchstone.parts against their laws, gradients by autograd of the running part."""
