"""Studies: training experiments that settle what no closed form can. One file a study, found by walking this package."""
