"""Every law against its running part: one file a topic, found by walking this package."""
