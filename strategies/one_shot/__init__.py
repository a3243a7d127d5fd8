"""NNI's one-shot strategies, resumable and readable as a search reports them, and SCNAS on them."""
