"""Questions about convolution: geometry and operator."""
