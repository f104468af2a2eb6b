"""What tests of several rooms share: processes that are really started, and builders."""
