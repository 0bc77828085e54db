# Oracle of robustness/runs.py: a site difference of control samples measured in runs, sites and donors fixed.
# "balanced", "unequal": lme4 with a random run, Kenward-Roger errors and degrees of freedom from pbkrtest.
# "alike": runs that agree better than chance. lme4 stops at a variance of 0 there; nlme's compound symmetry allows the
#   negative covariance, so it gives the estimates, without Kenward-Roger.
# "single": one sample a run, which is least squares.
# Run from tests/oracles: Rscript controls.R
suppressPackageStartupMessages({library(lme4); library(pbkrtest); library(nlme)})
set.seed(7)
draw <- function(case, runs, donors, sd) {
  out <- NULL
  for (site in names(runs)) for (r in seq_len(runs[[site]])) {
    here <- donors(site, r)
    out <- rbind(out, data.frame(case = case, site = site, run = paste0(site, r), donor = here, u = rnorm(1, 0, sd)))
  }
  shift <- c(JP = 0.2, KR = -0.1, SG = 0)[out$site] + c(D1 = 0, D2 = 0.4, D3 = -0.3)[out$donor]
  out$y <- round(-3 + shift + out$u + rnorm(nrow(out), 0, 0.15), 6)
  out[c("case", "site", "run", "donor", "y")]
}
some <- list(c("D1", "D2", "D3"), "D1", c("D2", "D3"), c("D1", "D3"))
data <- rbind(
  draw("balanced", list(JP = 3, KR = 2, SG = 4), function(site, r) c("D1", "D2", "D3"), 0.3),
  draw("unequal", list(JP = 4, KR = 2, SG = 3), function(site, r) some[[r]], 0.3),
  draw("alike", list(JP = 3, KR = 3, SG = 3), function(site, r) c("D1", "D2"), 0),
  draw("single", list(JP = 4, KR = 4), function(site, r) c("D1", "D2")[1 + r %% 2], 0.2)
)
alike <- data$case == "alike"
data$y[alike] <- round(ave(data$y[alike], data$site[alike], data$donor[alike]) + rep(c(1, -0.6), 9) * rep(c(.1, -.05, .12), 3, each = 2), 6)
wanted <- function(coef) { w <- 0 * coef; w["siteKR"] <- 1; w }
rows <- list()
note <- function(case, ...) { v <- c(...); rows[[length(rows) + 1]] <<- data.frame(case = case, name = names(v), value = v) }
control <- lmerControl(optCtrl = list(ftol_abs = 1e-15, xtol_abs = 1e-12))
for (case in c("balanced", "unequal")) {
  fit <- lmer(y ~ site + donor + (1 | run), data[data$case == case, ], REML = TRUE, control = control)
  w <- wanted(fixef(fit))
  adjusted <- vcovAdj(fit)
  note(case, estimate = sum(w * fixef(fit)), se_plain = sqrt(as.numeric(w %*% vcov(fit) %*% w)),
       se = sqrt(as.numeric(w %*% adjusted %*% w)), df = Lb_ddf(w, vcov(fit), adjusted),
       run_variance = as.numeric(VarCorr(fit)$run), sample_variance = sigma(fit)^2)
}
fit <- gls(y ~ site + donor, data[alike, ], correlation = corCompSymm(form = ~ 1 | run), method = "REML")
rho <- as.numeric(coef(fit$modelStruct$corStruct, unconstrained = FALSE))
w <- wanted(coef(fit))
note("alike", estimate = sum(w * coef(fit)), se_plain = sqrt(as.numeric(w %*% vcov(fit) %*% w)),
     run_variance = rho * fit$sigma^2, sample_variance = (1 - rho) * fit$sigma^2)
# Balanced: the classical analysis of the run means.
means <- aggregate(y ~ site + run, data[alike, ], mean)
fit <- lm(y ~ site, means)
note("alike", se = coef(summary(fit))["siteKR", "Std. Error"], df = fit$df.residual)
fit <- lm(y ~ site + donor, data[data$case == "single", ])
note("single", estimate = coef(fit)[["siteKR"]], se = coef(summary(fit))["siteKR", "Std. Error"], df = fit$df.residual)
versions <- paste0(c("lme4", "pbkrtest", "nlme"), " ", sapply(c("lme4", "pbkrtest", "nlme"), function(p) as.character(packageVersion(p))))
writeLines(paste0("# R ", getRversion(), ", ", paste(versions, collapse = ", ")), "controls.tsv")
suppressWarnings(write.table(do.call(rbind, rows), "controls.tsv", append = TRUE, sep = "\t", row.names = FALSE, quote = FALSE))
write.table(data, "controls_data.tsv", sep = "\t", row.names = FALSE, quote = FALSE)
