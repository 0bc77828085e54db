# Oracle of robustness/reml.py: variance components of responses with known error variances, by REML.
# "equal": all known variances are the same, so lme4 fits the same model: its residual variance is theirs plus the
#   samples' own.
# "unequal": no package here holds unequal known variances under REML (nlme with a fixed sigma does not maximise the
#   restricted likelihood), so the textbook density is written out with dense matrices and given to optim.
# Run from tests/oracles: Rscript reml.R
suppressPackageStartupMessages(library(lme4))
set.seed(20)
site <- factor(rep(c("SG", "KR", "JP", "TH"), c(8, 5, 4, 3)))
n <- length(site)
sample_site <- rep(site, each = 6)
sample_batch <- rep(seq_len(n), each = 6)
age <- round(rnorm(6 * n, 40, 12))
v <- round(1 / rgamma(6 * n, 8, 0.4), 6)
y <- -3 + rnorm(4, 0, 0.3)[as.integer(sample_site)] + rnorm(n, 0, 0.2)[sample_batch] + 0.01 * (age - 40) +
  rnorm(6 * n, 0, 0.35) + rnorm(6 * n, 0, sqrt(v))
data <- data.frame(y = round(y, 6), v = v, age = age, site = sample_site, batch = sample_batch, sample = seq_len(6 * n))
equal_v <- 0.05
rows <- list()
note <- function(case, coef, se, sds, loglik) {
  names(coef) <- paste0("coef", seq_along(coef))
  names(se) <- paste0("se", seq_along(se))
  value <- c(coef, se, setNames(sds, paste0("sd_", names(sds))), loglik = loglik)
  rows[[length(rows) + 1]] <<- data.frame(case = case, name = names(value), value = value)
}
control <- lmerControl(optCtrl = list(ftol_abs = 1e-14, xtol_abs = 1e-10))
fit <- lmer(y ~ age + (1 | site) + (1 | batch), data, REML = TRUE, control = control)
sds <- as.data.frame(VarCorr(fit))
sd_of <- function(name) sds$sdcor[sds$grp == name]
note("equal", fixef(fit), sqrt(diag(as.matrix(vcov(fit)))),
     c(site = sd_of("site"), batch = sd_of("batch"), sample = sqrt(sigma(fit)^2 - equal_v)), as.numeric(logLik(fit)))
fit <- lmer(y ~ site + age + (1 | batch), data, REML = TRUE, control = control)
sds <- as.data.frame(VarCorr(fit))
note("equal_fixed_sites", fixef(fit), sqrt(diag(as.matrix(vcov(fit)))),
     c(batch = sd_of("batch"), sample = sqrt(sigma(fit)^2 - equal_v)), as.numeric(logLik(fit)))
same <- function(codes) outer(codes, codes, "==") * 1
restricted <- function(sds, X, shared) {
  V <- diag(data$v) + Reduce(`+`, Map(function(s, C) s^2 * C, sds, shared))
  W <- solve(V)
  information <- t(X) %*% W %*% X
  coef <- solve(information, t(X) %*% W %*% data$y)
  r <- data$y - X %*% coef
  logs <- determinant(V)$modulus + determinant(information)$modulus + (nrow(X) - ncol(X)) * log(2 * pi)
  list(loglik = as.numeric(-0.5 * (logs + t(r) %*% W %*% r)), coef = coef, se = sqrt(diag(solve(information))))
}
X <- cbind(1, data$age)
shared <- list(same(data$site), same(data$batch), diag(nrow(data)))
best <- optim(c(0.3, 0.2, 0.4), function(s) -restricted(s, X, shared)$loglik, control = list(reltol = 1e-15, maxit = 9999))
found <- restricted(best$par, X, shared)
note("unequal", found$coef, found$se, setNames(best$par, c("site", "batch", "sample")), found$loglik)
# The profile of the batches' standard deviation: where it is 1.92 below its maximum.
drop <- function(s) {
  others <- optim(best$par[c(1, 3)], function(o) -restricted(c(o[1], s, o[2]), X, shared)$loglik, control = list(reltol = 1e-15))
  others$value - best$value - qchisq(0.95, 1) / 2
}
limits <- c(ci_low = uniroot(drop, c(1e-6, best$par[2]), tol = 1e-8)$root,
            ci_high = uniroot(drop, c(best$par[2], 3), tol = 1e-8)$root)
rows[[length(rows) + 1]] <- data.frame(case = "unequal_batch_profile", name = names(limits), value = limits)
writeLines(paste0("# R ", getRversion(), ", lme4 ", packageVersion("lme4"), ", equal_v = ", equal_v), "reml.tsv")
suppressWarnings(write.table(do.call(rbind, rows), "reml.tsv", append = TRUE, sep = "\t", row.names = FALSE, quote = FALSE))
write.table(data, "reml_data.tsv", sep = "\t", row.names = FALSE, quote = FALSE)
