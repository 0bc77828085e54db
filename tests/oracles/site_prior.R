# Oracle of robustness/prior.py: the restricted log-likelihood of the standard deviation between sites, from one
# estimate a site with a known variance (metafor, tau^2 held fixed), less that at 0; and what a half-normal makes of it,
# by integrate().
# Run from tests/oracles: Rscript site_prior.R
suppressPackageStartupMessages(library(metafor))
y <- c(-3.02, -2.61, -3.35, -2.88, -3.14)
v <- c(0.020, 0.035, 0.015, 0.050, 0.028)
at <- function(tau) as.numeric(logLik(rma(yi = y, vi = v, tau2 = tau^2, method = "REML")))
taus <- c(0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
rows <- data.frame(name = paste0("loglik_", taus), value = sapply(taus, at) - at(0))
# The same likelihood written out, for integrate(), which asks it at thousands of places; metafor above is its check.
loglik <- Vectorize(function(tau) { w <- 1 / (v + tau^2); -0.5 * (sum(log(v + tau^2)) + log(sum(w)) + sum(w * (y - sum(w * y) / sum(w))^2)) })
stopifnot(max(abs(loglik(taus) - loglik(0) - rows$value)) < 1e-8)
density <- function(tau) 2 * dnorm(tau, 0, 0.3) * exp(loglik(tau) - loglik(0.2))
total <- integrate(density, 0, 4, rel.tol = 1e-10)$value
mean_of <- function(f) integrate(function(tau) f(tau) * density(tau), 0, 4, rel.tol = 1e-10)$value / total
note <- function(name, value) rows <<- rbind(rows, data.frame(name = name, value = value))
note("mean_sd", mean_of(identity))
note("below_0.2", integrate(density, 0, 0.2, rel.tol = 1e-10)$value / total)
for (case in list(c(0.44, 2), c(-0.1, 2), c(0.3, 1.3)))
  note(paste0("share_", case[1], "_", case[2]), mean_of(function(tau) pnorm(case[1] / (tau * sqrt(case[2])))))
writeLines(paste0("# R ", getRversion(), ", metafor ", packageVersion("metafor")), "site_prior.tsv")
suppressWarnings(write.table(rows, "site_prior.tsv", append = TRUE, sep = "\t", row.names = FALSE, quote = FALSE))
