"""Reports as pages of HTML to look at: what ``--report`` writes."""
