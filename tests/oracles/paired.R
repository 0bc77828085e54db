# Beta-binomial regressions of a small paired design by restricted maximum likelihood: glmmTMB with REML = TRUE, 8 donors
# measured twice, a coefficient a donor. Writes paired_data.tsv (made here) and paired.tsv. Run here: Rscript paired.R
suppressMessages(library(glmmTMB))
set.seed(11)
d <- data.frame(donor = sprintf("d%d", 1:8), condition = rep(c("ctrl", "stim"), each = 8))
eta <- rep(rnorm(8, -2, 0.5), 2) + 0.3 * (d$condition == "stim")
d$n <- rpois(16, 900)
d$y <- rbinom(16, d$n, rbeta(16, plogis(eta) * 60, plogis(-eta) * 60))
write.table(d, "paired_data.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
out <- NULL
for (reml in c(FALSE, TRUE)) {
  fit <- glmmTMB(cbind(y, n - y) ~ condition + donor, family = betabinomial(), data = d, REML = reml)
  s <- summary(fit)$coefficients$cond
  out <- rbind(out, data.frame(reml, term = rownames(s), estimate = s[, 1], std_error = s[, 2], phi = sigma(fit)))
}
for (column in c("estimate", "std_error", "phi")) out[[column]] <- sprintf("%.10g", out[[column]])
writeLines(sprintf("# %s; glmmTMB %s", R.version.string, packageVersion("glmmTMB")), "paired.tsv")
suppressWarnings(write.table(out, "paired.tsv", sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
