"""Real data for studies: what lies on the machine already, or comes with a checksum."""
