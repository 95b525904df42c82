"""Measures of codes, scores and samples: functions of arrays, which know of no model."""
