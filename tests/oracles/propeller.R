# Linear models of transformed shares with plain and robust empirical Bayes (limma), as speckle's propeller does.
# Reads nothing; the counts of `speckle` are those of ../../../shared/oracles/speckle_counts.tsv, `many` is drawn here.
# Writes propeller_counts.tsv and propeller.tsv. Run in this folder: Rscript propeller.R
suppressMessages(library(limma))
header <- sprintf("# %s; limma %s; statmod %s", R.version.string, packageVersion("limma"), packageVersion("statmod"))
set.seed(7)

speckle <- rbind(s1 = c(500, 300, 200), s2 = c(900, 450, 150), s3 = c(270, 360, 270), s4 = c(480, 360, 360))
colnames(speckle) <- c("c0", "c1", "c2")
# Twelve types, some with outlying variance, 24 samples in three groups with a covariate.
k <- 12
n <- 24
eta <- matrix(rnorm(k, -2, 1), n, k, byrow = TRUE) +
  matrix(rnorm(n * k), n, k) * matrix(c(rep(0.2, 9), 0.3, 1.2, 2), n, k, byrow = TRUE)
many <- t(apply(eta, 1, function(e) rmultinom(1, rpois(1, 2000), exp(e) / sum(exp(e)))))
dimnames(many) <- list(sprintf("m%02d", 1:n), sprintf("t%02d", 1:k))
sets <- list(
  speckle = list(counts = speckle, samples = data.frame(group = c("a", "a", "b", "b"), age = 0)),
  many = list(counts = many, samples = data.frame(group = rep(c("a", "b", "c"), 8), age = round(runif(n, 20, 70))))
)

counts_out <- NULL
out <- NULL
for (name in names(sets)) {
  counts <- sets[[name]]$counts
  samples <- sets[[name]]$samples
  counts_out <- rbind(counts_out, data.frame(
    set = name, sample = rownames(counts)[row(counts)], group = samples$group[row(counts)],
    age = samples$age[row(counts)], type = colnames(counts)[col(counts)], n = as.vector(counts)
  ))
  design <- if (name == "many") model.matrix(~ group + age, samples) else model.matrix(~ group, samples)
  shares <- (counts + 0.5) / (rowSums(counts) + 0.5 * ncol(counts))
  transformed <- list(logit = log(shares / (1 - shares)), asin = asin(sqrt(counts / rowSums(counts))))
  for (transform in names(transformed)) {
    for (robust in c(FALSE, TRUE)) {
      fit <- eBayes(lmFit(t(transformed[[transform]]), design), robust = robust)
      out <- rbind(out, data.frame(
        set = name, transform, robust, type = colnames(counts), estimate = fit$coefficients[, "groupb"],
        t = fit$t[, "groupb"], p = fit$p.value[, "groupb"], df = fit$df.total, prior_df = fit$df.prior,
        prior_scale = fit$s2.prior
      ))
    }
  }
}
for (column in c("estimate", "t", "p", "df", "prior_df", "prior_scale")) out[[column]] <- sprintf("%.12g", out[[column]])
write_with <- function(table, path) {
  writeLines(header, path)
  suppressWarnings(write.table(table, path, sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
}
write_with(counts_out, "propeller_counts.tsv")
write_with(out, "propeller.tsv")

# Variances alone, to reach every branch of the prior: none, finite and infinite prior degrees of freedom, outliers.
df <- 8
variances <- list(
  equal = rchisq(30, df) / df,
  outlier = c(rchisq(29, df) / df, 40),
  spread = rchisq(30, df) / df * 4 / rchisq(30, 4),
  spread_outlier = c(rchisq(28, df) / df * 6 / rchisq(28, 6), 300, 90),
  even_outlier = c(qchisq(0.03 + 0.94 * ppoints(29), df) / df, 8),
  three = c(0.5, 1.1, 30)
)
squeezed <- NULL
for (name in names(variances)) {
  for (robust in c(FALSE, TRUE)) {
    s <- squeezeVar(variances[[name]], df, robust = robust)
    squeezed <- rbind(squeezed, data.frame(
      set = name, robust, df, variance = variances[[name]], posterior = s$var.post, prior_df = s$df.prior,
      prior_scale = s$var.prior
    ))
  }
}
for (column in c("variance", "posterior", "prior_df", "prior_scale")) {
  squeezed[[column]] <- sprintf("%.15g", squeezed[[column]])
}
write_with(squeezed, "squeeze.tsv")
