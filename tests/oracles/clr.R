# crumblr's recipe (centred log-ratios, capped precision weights, eBayes) run with limma on counts of the Kang cohort
# (8 donors, control and stimulated; Kang et al. 2018) as given to this script. Writes clr.tsv.
# Run in this folder: Rscript clr.R ../../../shared/oracles/kang_ifn_counts.tsv
suppressMessages(library(limma))
d <- read.delim(commandArgs(TRUE)[1], check.names = FALSE)
counts <- as.matrix(d[, -1])
design <- model.matrix(~ substr(d$sample, 1, 4) + sub("^....", "", d$sample))
capped <- function(w) pmin(w / quantile(w, 0.05), 5)
ratios <- function(x) {
  x <- x + 0.5
  k <- ncol(x)
  p <- x / rowSums(x)
  variance <- (1 / p - 2 / (p * k) + rowSums(1 / p) / k^2) / rowSums(x)
  list(value = log(x) - rowMeans(log(x)), weight = apply(1 / variance, 2, capped))
}
many <- ratios(counts)
two <- lapply(seq_len(ncol(counts)), function(j) ratios(cbind(counts[, j], rowSums(counts) - counts[, j])))
models <- list(
  clr = many,
  `clr-2class` = list(value = sapply(two, function(r) 2 * r$value[, 1]), weight = sapply(two, function(r) r$weight[, 1]))
)
out <- NULL
for (model in names(models)) {
  fit <- eBayes(lmFit(t(models[[model]]$value), design, weights = t(models[[model]]$weight)))
  out <- rbind(out, data.frame(
    model, cell_type = colnames(counts), estimate = fit$coefficients[, 2], t = fit$t[, 2], p = fit$p.value[, 2],
    prior_df = fit$df.prior, prior_scale = fit$s2.prior
  ))
}
for (column in c("estimate", "t", "p", "prior_df", "prior_scale")) out[[column]] <- sprintf("%.12g", out[[column]])
writeLines(sprintf("# %s; limma %s", R.version.string, packageVersion("limma")), "clr.tsv")
suppressWarnings(write.table(out, "clr.tsv", sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
