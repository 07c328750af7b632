"""One file a finding: Recording -> Evidence -> Finding. Found by walking this package, nothing to register."""
