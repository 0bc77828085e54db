"""Statistical models of counts out of totals: one file a model, kernel and registry entry side by side."""
